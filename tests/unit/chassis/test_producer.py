"""The producer with a client whose brokers misbehave as kafka-python 3.0.12 lets them."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from kafka import errors as kafka_errors
from kafka.future import Future

import chassis.producer
from chassis.producer import Producer
from chassis.publisher import BrokersAway, Rejected, TopicUnavailable, reason_of

if TYPE_CHECKING:
    from collections.abc import Callable


WITHIN = timedelta(seconds=1)


class Client:
    """Stands for `KafkaProducer`: gives futures that a test completes, or never completes."""

    made: list[Client]
    known: set[str]
    answers: bool
    behave: Callable[[Client, str, bytes, Future], None]

    def __init__(self, **_options: Any) -> None:
        type(self).made.append(self)
        self.ended = threading.Event()
        self.closed = threading.Event()
        self._sender = SimpleNamespace(
            add_topic=lambda topic: self._metadata._topics.add(topic),
            wakeup=lambda: None,
            force_close=self.ended.set,
            join=lambda _timeout: None,
            is_alive=lambda: False,
        )
        self._accumulator = SimpleNamespace(abort_incomplete_batches=lambda: None)
        self._metadata = SimpleNamespace(
            _topics=set(),
            _last_successful_refresh_ms=0.0,
            unauthorized_topics=set(),
            partitions_for_topic=lambda topic: {0} if topic in type(self).known else None,
            leader_for_partition=lambda place: -1 if place.topic.startswith("leaderless") else 1,
            request_update=self._refresh,
        )

    def _refresh(self) -> Future:
        if type(self).answers:
            self._metadata._last_successful_refresh_ms = time.monotonic() * 1000
            return Future().success(None)
        return Future()

    def _partition(self, *_arguments: Any) -> int:
        return 0

    def send(self, topic: str, value: bytes, _key: bytes, _headers: Any, _partition: int) -> Future:
        future = Future()
        type(self).behave(self, topic, value, future)
        return future

    def close(self, timeout: float) -> None:
        assert timeout == 0
        assert self.ended.is_set(), "its own close waits for what it holds"
        self.closed.set()


def never(_client: Client, _topic: str, _value: bytes, _future: Future) -> None:
    """Complete nothing, as for a batch that died with its broker."""


def at_once(_client: Client, _topic: str, _value: bytes, future: Future) -> None:
    future.success(None)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> type[Client]:
    class OneTests(Client):
        """The clients of one test."""

    OneTests.made, OneTests.known, OneTests.answers = [], {"good", "bad", "leaderless"}, True
    behave(OneTests, at_once)
    monkeypatch.setattr(chassis.producer, "KafkaProducer", OneTests)
    return OneTests


def behave(client: type[Client], how: Callable[[Client, str, bytes, Future], None]) -> None:
    client.behave = staticmethod(how)  # type: ignore[assignment]


def record(topic: str, value: bytes = b"v") -> tuple[str, str, bytes, list[tuple[str, str]]]:
    return (topic, "k", value, [("ce_id", "1")])


def timed(producer: Producer, *topics: str) -> tuple[list[Exception | None], float]:
    began = time.monotonic()
    outcomes = producer.send([record(topic) for topic in topics], within=WITHIN)
    return outcomes, time.monotonic() - began


@pytest.mark.parametrize(("answers", "error"), [(True, TopicUnavailable), (False, BrokersAway)])
def test_five_hundred_futures_that_never_complete_cost_one_deadline(client: type[Client], answers: bool, error: type[Exception]) -> None:
    client.answers = answers
    behave(client, never)

    outcomes, took = timed(Producer({}, client_id="p"), *["bad"] * 500)

    assert 0.9 < took < 1.5
    assert {type(outcome) for outcome in outcomes} == {error}


def test_brokers_that_answer_all_but_these_records_cost_less_than_the_deadline(
    client: type[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chassis.producer, "_DOUBT", timedelta(milliseconds=100))
    monkeypatch.setattr(chassis.producer, "_SILENCE", timedelta(milliseconds=300))
    behave(client, never)

    outcomes, took = timed(Producer({}, client_id="p"), "bad")

    assert took < 0.7
    assert type(outcomes[0]) is TopicUnavailable


def test_the_client_with_an_unknown_outcome_is_thrown_away_with_what_it_holds(client: type[Client]) -> None:
    behave(client, never)
    producer = Producer({}, client_id="p")
    timed(producer, "bad")
    behave(client, at_once)

    assert producer.send([record("good")]) == [None]

    first, second = client.made
    assert first.closed.wait(5)
    assert not second.ended.is_set()


def test_records_that_were_acknowledged_count_and_do_not_wait_for_the_others_until_the_deadline(
    client: type[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chassis.producer, "_STRAGGLERS", timedelta(milliseconds=200))
    behave(client, lambda _client, topic, _value, future: future.success(None) if topic == "good" else None)

    outcomes, took = timed(Producer({}, client_id="p"), "good", "bad", "good")

    assert [outcome if outcome is None else reason_of(outcome) for outcome in outcomes] == [None, "NotAcknowledged", None]
    assert took < 0.7


def test_a_topic_without_a_leader_fails_at_once_and_keeps_the_client(client: type[Client]) -> None:
    producer = Producer({}, client_id="p")

    outcomes, took = timed(producer, "leaderless", "good")

    assert [outcome if outcome is None else reason_of(outcome) for outcome in outcomes] == ["LeaderNotAvailable", None]
    assert took < 0.5
    assert not client.made[0].ended.is_set()


def test_a_missing_topic_is_a_condition_of_the_topic_and_not_a_rejection(client: type[Client]) -> None:
    assert "missing" not in client.known

    outcomes, took = timed(Producer({}, client_id="p"), *["missing"] * 338, "good")

    assert {type(outcome) for outcome in outcomes[:-1]} == {TopicUnavailable}
    assert reason_of(outcomes[0] or ValueError()) == "UnknownTopicOrPartition"
    assert outcomes[-1] is None
    assert took < 1.5


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (kafka_errors.MessageSizeTooLargeError, Rejected),
        (kafka_errors.InvalidRecordError, Rejected),
        (kafka_errors.InvalidTimestampError, Rejected),
        (kafka_errors.UnknownTopicOrPartitionError, TopicUnavailable),
        (kafka_errors.TopicAuthorizationFailedError, TopicUnavailable),
        (kafka_errors.NotEnoughReplicasError, TopicUnavailable),
        (kafka_errors.NotLeaderForPartitionError, TopicUnavailable),
        (kafka_errors.KafkaTimeoutError, TopicUnavailable),
    ],
)
def test_a_rejection_is_what_the_brokers_say_of_the_record_itself(
    client: type[Client], error: type[Exception], kind: type[Exception]
) -> None:
    behave(client, lambda _client, _topic, _value, future: future.failure(error()))

    (outcome,) = Producer({}, client_id="p").send([record("bad")])

    assert type(outcome) is kind
    assert client.made[0].ended.is_set() is (kind is not Rejected)


def test_a_name_that_no_topic_can_have_is_a_rejection(client: type[Client]) -> None:
    assert client.known
    (outcome,) = Producer({}, client_id="p").send([record("no topic/at all")])

    assert isinstance(outcome, Rejected)


def test_while_no_broker_answers_the_client_is_kept_since_it_holds_nothing(client: type[Client]) -> None:
    client.known, client.answers = set(), False
    producer = Producer({}, client_id="p")

    outcomes, took = timed(producer, *["good"] * 100)
    assert {type(outcome) for outcome in outcomes} == {BrokersAway}
    assert took < 1.5

    client.known, client.answers = {"good"}, True
    assert producer.send([record("good")]) == [None]
    assert len(client.made) == 1


def test_nothing_to_send_makes_no_client(client: type[Client]) -> None:
    assert Producer({}, client_id="p").send([]) == []
    assert client.made == []
