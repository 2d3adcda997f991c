"""Outbox and relay on real PostgreSQL and Kafka: nothing lost, each key in order, a fault holds up its own key alone."""

from __future__ import annotations

import random
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from chassis import trace
from chassis.message import OutMessage, new_id
from chassis.metrics import ChassisMetrics
from chassis.outbox import Outbox
from chassis.producer import Producer
from chassis.publisher import DEADLINE, Rejected, TopicUnavailable
from chassis.relay import Relay
from tests.integration.chassis.conftest import SOURCE, Probe, Topics, client_leaks_sockets, values
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chassis.publisher import OutRecord, Publisher
    from deploy.local.parts import LocalParts


def message(topic: str, key: str, body: str, **changed: Any) -> OutMessage:
    return OutMessage(
        **{
            "id": new_id(),
            "topic": topic,
            "key": key,
            "type": "probe.Told",
            "subject": key,
            "time": datetime.now(UTC),
            "data": body.encode(),
            **changed,
        },
    )


@dataclass
class Log:
    """Stands between relay and brokers: keeps what went out, in order, and fails where it is told to."""

    behind: Publisher
    went_out: list[tuple[str, str, str]] = field(default_factory=list)
    trouble: random.Random | None = None

    def partition_of(self, topic: str, key: str) -> str:
        return self.behind.partition_of(topic, key)

    def send(self, records: Sequence[OutRecord], *, within: timedelta = DEADLINE) -> list[Exception | None]:
        outcomes: list[Exception | None] = [None] * len(records)
        fates = [self._fate() for _ in records]
        sent = [i for i, fate in enumerate(fates) if fate != "not sent"]
        for i, outcome in zip(sent, self.behind.send([records[i] for i in sent], within=within), strict=True):
            topic, key, value, _ = records[i]
            if outcome is None:
                self.went_out.append((topic, key, value.decode()))
            outcomes[i] = ConnectionError("answer lost") if fates[i] == "answer lost" else outcome
        for i, fate in enumerate(fates):
            if fate == "not sent":
                outcomes[i] = ConnectionError("not sent")
        return outcomes

    def _fate(self) -> str:
        if self.trouble is None:
            return "sent"
        return self.trouble.choices(["sent", "not sent", "answer lost"], [7, 2, 1])[0]


def of_key(went_out: Sequence[tuple[str, str, str]], key: str) -> list[str]:
    """Return what went out for a key, repetitions left out."""
    return list(dict.fromkeys(body for _, its_key, body in went_out if its_key == key))


def relay_of(
    probe: Probe, publisher: Publisher, *, interval: float = 0.05, batch: int = 500, metrics: ChassisMetrics | None = None
) -> Relay:
    return Relay(
        probe.engine,
        probe.outbox,
        publisher,
        metrics or probe.metrics,
        interval=timedelta(seconds=interval),
        pace=timedelta(0),
        batch=batch,
    )


@contextmanager
def running(*relays: Relay) -> Iterator[threading.Event]:
    stop = threading.Event()
    threads = [threading.Thread(target=relay.run, args=(stop,)) for relay in relays]
    for thread in threads:
        thread.start()
    try:
        yield stop
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)


@pytest.fixture
def producer(topics: Topics) -> Iterator[Producer]:
    made = Producer(topics.options, client_id="probe")
    yield made
    made.close()


def test_a_message_goes_out_with_cloudevents_headers_and_the_trace_of_its_cause(probe: Probe, topics: Topics, producer: Producer) -> None:
    (topic,) = topics.make("told")
    with trace.continue_from("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"):
        sent = message(topic, "k", "你好", time=datetime(2026, 11, 23, 1, 2, 3, 4, UTC))

    probe.publish(sent)
    with running(relay_of(probe, producer)):
        eventually(lambda: not probe.waiting(), "empty outbox", within=20)

    (record,) = topics.read(topic)
    assert (record.key, record.value.decode()) == (b"k", "你好")
    headers = {name: value.decode() for name, value in record.headers}
    assert headers.pop("traceparent").split("-")[1] == "0af7651916cd43dd8448eb211c80319c"
    assert headers == {
        "ce_specversion": "1.0",
        "ce_id": sent.id,
        "ce_source": SOURCE,
        "ce_type": "probe.Told",
        "ce_subject": "k",
        "ce_time": "2026-11-23T01:02:03.000004+00:00",
        "content-type": "application/protobuf",
    }


def test_what_was_rolled_back_never_goes_out(probe: Probe, topics: Topics, producer: Producer) -> None:
    (topic,) = topics.make("told")
    with probe.open() as uow:
        uow.publish(message(topic, "k", "rolled back"))
        uow.flush()
    with probe.open() as uow:
        uow.publish(message(topic, "k", "never flushed"))
    probe.publish(message(topic, "k", "committed"))

    with running(relay_of(probe, producer)):
        eventually(lambda: not probe.waiting(), "empty outbox", within=20)

    assert values(topics.read(topic)) == ["committed"]


def test_a_commit_wakes_the_relay_of_its_process(probe: Probe, topics: Topics, producer: Producer) -> None:
    (topic,) = topics.make("told")

    with running(relay_of(probe, producer, interval=3600)) as stop:
        eventually(lambda: probe.count("paidan_relay_active") == 1, "active relay", within=20)
        probe.publish(message(topic, "k", "1"))
        eventually(lambda: not probe.waiting(), "empty outbox", within=20)
        stop.set()
        probe.outbox.wake()

    assert values(topics.read(topic)) == ["1"]


def test_on_stop_what_is_there_still_goes_out(probe: Probe, topics: Topics, producer: Producer) -> None:
    (topic,) = topics.make("told")
    log = Log(producer)
    other_process = Outbox(probe.outbox.table, source=SOURCE)

    with running(relay_of(probe, log, interval=0.5)):
        eventually(lambda: probe.count("paidan_relay_active") == 1, "active relay", within=20)
        with probe.engine.begin() as conn:
            other_process.append(conn, [message(topic, "k", str(i)) for i in range(20)])

    assert probe.waiting() == []
    assert of_key(log.went_out, "k") == [str(i) for i in range(20)]


def test_each_key_keeps_its_order_over_two_topics_whatever_fails(probe: Probe, topics: Topics, producer: Producer) -> None:
    first, second = topics.make("one", "two", partitions=3)
    keys = [f"k{i}" for i in range(12)]
    log = Log(producer, trouble=random.Random(7))
    for n in range(15):
        probe.publish(*(message((first, second)[(n + i) % 2], key, f"{key}:{n}", type=f"probe.Told{n % 2}") for i, key in enumerate(keys)))

    with running(relay_of(probe, log, batch=37)):
        eventually(lambda: not probe.waiting(), lambda: f"empty outbox, {len(probe.waiting())} wait", within=40)

    expected = {key: [f"{key}:{n}" for n in range(15)] for key in keys}
    assert {key: of_key(log.went_out, key) for key in keys} == expected
    assert len(log.went_out) > 12 * 15, "no answer was lost: the trouble is too small for this test"
    arrived = [(record.topic, record.key.decode(), record.value.decode()) for record in topics.read(first, second)]
    assert sorted(arrived) == sorted(log.went_out)
    for topic in (first, second):
        for key in keys:
            of_topic = [entry for entry in arrived if entry[0] == topic]
            assert of_key(of_topic, key) == [body for body in expected[key] if (topic, key, body) in set(arrived)]


def test_a_rejected_row_holds_back_its_key_alone(probe: Probe, topics: Topics, producer: Producer) -> None:
    (topic,) = topics.make("told")
    too_large = "x" * 1_100_000
    probe.publish(message(topic, "a", "a1"), message(topic, "a", too_large), message(topic, "a", "a3"), message(topic, "b", "b1"))

    with running(relay_of(probe, producer)):
        eventually(lambda: len(probe.waiting()) == 2 and probe.waiting()[0].attempts > 0, "held back row", within=20)
        probe.publish(message(topic, "b", "b2"), message(topic, "a", "a4"))
        eventually(lambda: len(probe.waiting()) == 3, "three rows", within=20)

        assert values(topics.read(topic)) == ["a1", "b1", "b2"]
        held, *behind = probe.waiting()
        assert "MessageSizeTooLarge" in held.last_error
        assert held.retry_time is not None
        assert [(row.payload, row.attempts) for row in behind] == [(b"a3", 0), (b"a4", 0)]
        assert probe.count("paidan_publish_failures_total", topic=topic, error="Rejected") >= 1
        assert probe.count("paidan_messages_published_total", topic=topic) == 3

        _operator_deletes(probe, held.seq)
        eventually(lambda: not probe.waiting(), "empty outbox", within=20)

    assert values(topics.read(topic)) == ["a1", "b1", "b2", "a3", "a4"]


def test_the_same_news_goes_to_all_its_topics_at_once_and_other_news_wait_for_every_one_of_them(
    probe: Probe, topics: Topics, producer: Producer
) -> None:
    lead, helper, news = topics.make("lead", "helper", "news")
    log = Log(producer)
    probe.publish(
        message(lead, "a", "x" * 1_100_000, type="probe.Order"),
        message(helper, "a", "order", type="probe.Order"),
        message(news, "a", "ordered", type="probe.Ordered"),
    )

    with running(relay_of(probe, log)):
        eventually(lambda: probe.waiting() and probe.waiting()[0].attempts > 0, "held back row", within=20)

        assert log.went_out == [(helper, "a", "order")]
        assert [row.aggregatetype for row in probe.waiting()] == [lead, news]

        _operator_deletes(probe, probe.waiting()[0].seq)
        eventually(lambda: not probe.waiting(), "empty outbox", within=20)

    assert log.went_out == [(helper, "a", "order"), (news, "a", "ordered")]


def test_a_missing_topic_holds_up_nobody_else_and_its_messages_go_out_when_it_is_there(
    probe: Probe, topics: Topics, producer: Producer
) -> None:
    (topic,) = topics.make("told")
    missing = f"{topic}.missing"
    probe.publish(*(message(missing, f"a{i}", f"a{i}:1") for i in range(20)))
    probe.publish(*(message(topic, f"a{i}", f"a{i}:2", type="probe.After") for i in range(20)), message(topic, "b", "b1"))

    with running(relay_of(probe, producer)):
        eventually(lambda: len(probe.waiting()) == 40, "one delivery", within=30)
        assert values(topics.read(topic)) == ["b1"]

        topics.make_exactly(missing)
        eventually(lambda: not probe.waiting(), lambda: f"empty outbox, {len(probe.waiting())} wait", within=60)

    assert sorted(values(topics.read(missing))) == sorted(f"a{i}:1" for i in range(20))
    assert sorted(values(topics.read(topic))) == sorted(["b1", *(f"a{i}:2" for i in range(20))])


def test_a_dead_letter_keeps_the_headers_of_its_record(probe: Probe, topics: Topics, producer: Producer) -> None:
    (topic,) = topics.make("told")
    probe.publish(message(topic, "k", "v", verbatim_headers=(("ce_id", "1"), ("ce_id", "2"), ("x", "é"))))

    with running(relay_of(probe, producer)):
        eventually(lambda: not probe.waiting(), "empty outbox", within=20)

    (record,) = topics.read(topic)
    assert record.headers == [("ce_id", b"1"), ("ce_id", b"2"), ("x", "é".encode())]


def test_of_two_relays_one_works_and_the_other_takes_over_when_the_leaders_connection_breaks(
    probe: Probe, topics: Topics, producer: Producer
) -> None:
    (topic,) = topics.make("told")
    logs = [Log(producer), Log(Producer(topics.options, client_id="second"))]
    metrics = [ChassisMetrics(), ChassisMetrics()]
    relays = [relay_of(probe, log, metrics=own) for log, own in zip(logs, metrics, strict=True)]

    def active() -> list[float | None]:
        return [own.registry.get_sample_value("paidan_relay_active") for own in metrics]

    with running(*relays):
        eventually(lambda: sorted(active()) == [0, 1], "one leader", within=20)
        for n in range(3):
            probe.publish(message(topic, "k", f"{n}a"), message(topic, "k", f"{n}b"))
            eventually(lambda: not probe.waiting(), "empty outbox", within=20)
            killed = _terminate_leader(probe)
            eventually(lambda killed=killed: _leaders(probe) not in ([], killed), "new leader", within=20)
            eventually(lambda: sorted(active()) == [0, 1], "one leader", within=20)
        probe.publish(message(topic, "k", "last"))
        eventually(lambda: not probe.waiting(), "empty outbox", within=20)
    logs[1].behind.close()

    assert values(topics.read(topic)) == ["0a", "0b", "1a", "1b", "2a", "2b", "last"]
    assert active() == [0, 0]


class Both:
    """One of two publishers that are let go together, so that both relays have read the same rows before either sends."""

    def __init__(self, topics: Topics, together: threading.Barrier, went_out: list[tuple[str, str, str]]) -> None:
        self._producer = Producer(topics.options, client_id="both")
        self._together = together
        self._went_out = went_out
        self._waits = True

    def partition_of(self, topic: str, key: str) -> str:
        return self._producer.partition_of(topic, key)

    def send(self, records: Sequence[OutRecord], *, within: timedelta = DEADLINE) -> list[Exception | None]:
        if self._waits:
            self._waits = False
            self._together.wait(20)
        outcomes = self._producer.send(records, within=within)
        self._went_out.extend((topic, key, value.decode()) for topic, key, value, _ in records)
        return outcomes

    def publish_all(self, probe: Probe) -> None:
        with probe.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            relay = relay_of(probe, self, batch=60, metrics=ChassisMetrics())
            while relay.publish_batch(conn):
                pass
        self._producer.close()


def test_while_two_relays_work_at_once_the_first_copies_are_still_in_order(probe: Probe, topics: Topics) -> None:
    first, second = topics.make("one", "two")
    keys = [f"k{i}" for i in range(5)]
    for n in range(20):
        probe.publish(*(message((first, second)[n % 2], key, f"{key}:{n}", type=f"probe.Told{n % 2}") for key in keys))
    went_out: list[tuple[str, str, str]] = []
    together = threading.Barrier(2)
    threads = [threading.Thread(target=Both(topics, together, went_out).publish_all, args=(probe,)) for _ in range(2)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert probe.waiting() == []
    assert {key: of_key(went_out, key) for key in keys} == {key: [f"{key}:{n}" for n in range(20)] for key in keys}
    assert len(went_out) >= 60 * 2 + 40, "the relays did not work at once"
    for topic, numbers in ((first, range(0, 20, 2)), (second, range(1, 20, 2))):
        arrived = [(topic, record.key.decode(), record.value.decode()) for record in topics.read(topic)]
        assert {key: of_key(arrived, key) for key in keys} == {key: [f"{key}:{n}" for n in numbers] for key in keys}


@client_leaks_sockets
def test_a_broker_outage_loses_nothing_and_keeps_each_keys_order(
    probe: Probe, topics: Topics, producer: Producer, parts: LocalParts
) -> None:
    if parts.kafka is None:
        pytest.skip("the broker is not ours to kill")
    (topic,) = topics.make("told", partitions=3)
    keys = [f"k{i}" for i in range(10)]

    def publish(n: int) -> None:
        probe.publish(*(message(topic, key, f"{key}:{n}") for key in keys))

    with running(relay_of(probe, producer)):
        publish(0)
        eventually(lambda: not probe.waiting(), "empty outbox", within=20)
        parts.kafka.kill()
        for n in range(1, 6):
            publish(n)
        eventually(lambda: probe.count("paidan_outbox_oldest_seconds") > 0.2, "an age of the outbox", within=40)
        kept = len(probe.waiting())
        parts.kafka.start()
        publish(6)
        eventually(lambda: not probe.waiting(), lambda: f"empty outbox, {len(probe.waiting())} wait", within=60)

    arrived = [(topic, record.key.decode(), record.value.decode()) for record in topics.read(topic)]
    assert kept == 50
    assert {key: of_key(arrived, key) for key in keys} == {key: [f"{key}:{n}" for n in range(7)] for key in keys}


@client_leaks_sockets
def test_while_the_brokers_are_away_a_relay_still_stops_in_time(probe: Probe) -> None:
    away = Producer({"bootstrap_servers": ["127.0.0.1:1"]}, client_id="away")
    probe.publish(*(message("told", f"k{i}", str(i)) for i in range(200)))

    with running(relay_of(probe, away)):
        eventually(lambda: sum(_failures(probe)) > 0, "a failure", within=30)
        began = time.monotonic()
    took = time.monotonic() - began
    away.close()

    assert took < 15, "a process has 20 s to stop"
    assert len(probe.waiting()) == 200
    assert all(row.attempts == 0 for row in probe.waiting())


def test_a_producer_names_the_partition_on_which_a_key_goes(topics: Topics, producer: Producer) -> None:
    (topic,) = topics.make("names", partitions=6)
    keys = [f"钥匙 {n}" for n in range(40)] + [""]
    assert producer.partition_of(topic, keys[0]) == topic, "not known yet"

    assert producer.send([(topic, key, key.encode(), []) for key in keys]) == [None] * len(keys)

    found = {record.value.decode(): f"{topic}/{record.partition}" for record in topics.read(topic)}
    assert {key: producer.partition_of(topic, key) for key in keys} == found


def test_a_producer_tells_what_was_rejected_from_what_may_be_sent_again(topics: Topics, producer: Producer) -> None:
    (topic,) = topics.make("told")
    headers = [("name", "värde")]

    outcomes = producer.send(
        [
            (topic, "k", b"1", headers),
            (topic, "k", b"x" * 1_100_000, headers),
            (f"{topic}.missing", "k", b"2", headers),
            (f"{topic}.missing", "k", b"3", headers),
            (topic, "", b"4", []),
        ],
    )

    assert [type(outcome) for outcome in outcomes] == [type(None), Rejected, TopicUnavailable, TopicUnavailable, type(None)]
    assert values(topics.read(topic)) == ["1", "4"]


def _failures(probe: Probe) -> list[float]:
    return [
        sample.value
        for metric in probe.metrics.registry.collect()
        for sample in metric.samples
        if sample.name == "paidan_publish_failures_total"
    ]


def _operator_deletes(probe: Probe, seq: int) -> None:
    with probe.admin.begin() as conn:
        conn.execute(probe.outbox.table.delete().where(probe.outbox.table.c.seq == seq))


def _leaders(probe: Probe) -> list[int]:
    """Return the backends that hold the relay's lock."""
    with probe.admin.connect() as conn:
        return list(
            conn.scalars(
                text(
                    "SELECT l.pid FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid) "
                    "WHERE l.locktype = 'advisory' AND l.granted AND a.application_name = :name",
                ),
                {"name": f"paidan-{probe.schema}"},
            ),
        )


def _terminate_leader(probe: Probe) -> list[int]:
    leaders = _leaders(probe)
    assert len(leaders) == 1
    with probe.admin.begin() as conn:
        conn.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": leaders[0]})
    return leaders
