"""The sink of a consumer that keeps nothing: what it produces is its effect."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from chassis.dead_letter import DeadLetterLimit, DeadLetterLimitReached
from chassis.message import InMessage, InvalidMessage, OutMessage, RetryLater, Unreadable
from chassis.metrics import ChassisMetrics
from chassis.publisher import Rejected
from chassis.sink import ProducingSink
from chassis.testing import ManualClock
from tests.unit.chassis.builders import ARecord, with_id

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)


class Brokers:
    def __init__(self) -> None:
        self.errors: list[Exception | None] = []
        self.taken: list[tuple[str, str, bytes, dict[str, str]]] = []

    def send(self, records: Sequence[tuple[str, str, bytes, list[tuple[str, str]]]]) -> list[Exception | None]:
        outcomes = [self.errors.pop(0) if self.errors else None for _ in records]
        self.taken += [(*record[:3], dict(record[3])) for record, error in zip(records, outcomes, strict=True) if error is None]
        return outcomes


def double(messages: Sequence[InMessage]) -> list[OutMessage]:
    produced = []
    for message in messages:
        body = message.data.decode()
        if body == "!invalid":
            raise InvalidMessage("NONSENSE", "it makes no sense")
        if body == "!bug":
            raise ZeroDivisionError("secret")
        if body == "!later":
            raise RetryLater
        produced.append(
            OutMessage(
                id=f"of {message.id}", topic="out", key=message.key, type="t", subject=message.key, time=NOW, data=(body * 2).encode()
            ),
        )
    return produced


@pytest.fixture
def brokers() -> Brokers:
    return Brokers()


@pytest.fixture
def metrics() -> ChassisMetrics:
    return ChassisMetrics()


def sink_of(brokers: Brokers, metrics: ChassisMetrics, **changed: Any) -> ProducingSink:
    return ProducingSink(double, brokers, source="/s", consumer="probe", clock=ManualClock(NOW), metrics=metrics, **changed)


def done(metrics: ChassisMetrics, outcome: str) -> float:
    return metrics.registry.get_sample_value("paidan_messages_consumed_total", {"topic": "in", "outcome": outcome}) or 0


def test_what_comes_of_a_batch_is_produced_in_order(brokers: Brokers, metrics: ChassisMetrics) -> None:
    sink_of(brokers, metrics).process([with_id(str(i), str(i)) for i in range(5)])

    assert [(topic, key, value) for topic, key, value, _ in brokers.taken] == [("out", "k", f"{i}{i}".encode()) for i in range(5)]
    assert [headers["ce_id"] for *_, headers in brokers.taken] == [f"of {i}" for i in range(5)]
    assert {headers["ce_source"] for *_, headers in brokers.taken} == {"/s"}
    assert (done(metrics, "done"), done(metrics, "dead_lettered")) == (5, 0)


@pytest.mark.parametrize(("bad", "why"), [("!invalid", "NONSENSE"), ("!bug", "BUG")])
def test_a_bad_message_becomes_a_dead_letter_and_its_neighbours_are_handled(
    brokers: Brokers, metrics: ChassisMetrics, bad: str, why: str
) -> None:
    sink_of(brokers, metrics).process([with_id("a"), with_id(bad), with_id("b")])

    assert [(topic, value) for topic, _, value, _ in brokers.taken] == [("out", b"aa"), ("in.dlq", bad.encode()), ("out", b"bb")]
    headers = brokers.taken[1][3]
    assert (headers["dlq_reason"], headers["dlq_consumer"], headers["x"]) == (why, "probe", "y")
    assert "secret" not in headers["dlq_detail"]
    assert (done(metrics, "done"), done(metrics, "dead_lettered")) == (2, 1)


def test_garbage_becomes_a_dead_letter(brokers: Brokers, metrics: ChassisMetrics) -> None:
    sink_of(brokers, metrics).process([ARecord(None), ARecord(b"v", key=b"\xff"), with_id("a")])

    assert [topic for topic, *_ in brokers.taken] == ["in.dlq", "in.dlq", "out"]


def test_what_could_not_be_read_becomes_a_dead_letter_with_its_reason(brokers: Brokers, metrics: ChassisMetrics) -> None:
    packed = Unreadable(b"\x28\xb5", reason="UNKNOWN_CODEC", detail="offset 3: compression type 5 does not exist", size=2)

    sink_of(brokers, metrics).process([with_id("a"), ARecord(packed, key=None), with_id("b")])

    assert [(topic, value) for topic, _, value, _ in brokers.taken] == [("out", b"aa"), ("in.dlq", b"\x28\xb5"), ("out", b"bb")]
    assert brokers.taken[1][3]["dlq_reason"] == "UNKNOWN_CODEC"
    assert (done(metrics, "done"), done(metrics, "dead_lettered")) == (2, 1)


def test_what_cannot_be_handled_now_puts_the_batch_off(brokers: Brokers, metrics: ChassisMetrics) -> None:
    with pytest.raises(RetryLater):
        sink_of(brokers, metrics).process([with_id("a"), with_id("!later")])

    assert brokers.taken == []


@pytest.mark.parametrize("error", [ConnectionError("away"), Rejected("no such topic")])
def test_what_the_brokers_do_not_take_puts_the_batch_off(brokers: Brokers, metrics: ChassisMetrics, error: Exception) -> None:
    brokers.errors = [None, error]
    sink = sink_of(brokers, metrics)
    batch = [with_id("a", "1"), with_id("b", "2")]

    with pytest.raises(RetryLater):
        sink.process(batch)
    sink.process(batch)

    assert [headers["ce_id"] for *_, headers in brokers.taken] == ["of 1", "of 1", "of 2"]
    assert (done(metrics, "done")) == 2
    assert metrics.registry.get_sample_value("paidan_publish_failures_total", {"topic": "out", "error": type(error).__name__}) == 1


def test_too_many_dead_letters_stop_it_before_anything_of_the_batch_is_produced(brokers: Brokers, metrics: ChassisMetrics) -> None:
    sink = sink_of(brokers, metrics, limit=DeadLetterLimit(1, timedelta(hours=1)))

    with pytest.raises(DeadLetterLimitReached):
        sink.process([with_id("a"), with_id("!bug"), with_id("!bug")])

    assert brokers.taken == []
