"""Kafka: a producer with one deadline for all records of a call.

    topics and leaders known? ─► hand over ─► wait for all futures ─► outcome of each record
                                                   │ some are not done at the deadline
                                                   ▼
                              the client is discarded with all records that it still holds

kafka-python 3.0.12 has three defects: it does not complete the futures of a batch if its connection breaks at a certain moment, its `close`
waits for them, and a client that is not forced to close sends its records later. Therefore no wait here is for a single future, and a
client with an unknown outcome is never used again.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import structlog
from kafka import KafkaProducer, TopicPartition
from kafka import errors as kafka_errors
from kafka.partitioner.default import murmur2
from kafka.util import ensure_valid_topic_name

from chassis import failpoint
from chassis.kafka import CLIENT_OPTIONS, milliseconds
from chassis.publisher import DEADLINE, BrokersAway, Rejected, TopicUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chassis.publisher import OutRecord

log = structlog.get_logger()

_STRAGGLERS = timedelta(seconds=1)
"""Time from the last acknowledgement of a call to its end: one failing partition does not make the others wait for the deadline."""
_DOUBT = timedelta(milliseconds=500)
"""Time without any acknowledgement before a metadata request, which distinguishes a failing topic from unreachable brokers."""
_SILENCE = timedelta(seconds=2)
"""Time that a call waits for its first acknowledgement if the brokers answer that request: the brokers work, the topics do not."""
_CHECK_SECONDS = 0.05
_SENDER_PATIENCE = timedelta(seconds=10)
_METADATA_AGE = timedelta(seconds=5)
_ANSWERS = 2
"""Number of metadata responses without a leader after which a topic counts as leaderless."""

_NO_LEADER = (None, -1)
_AWAY = "no broker answers"
_REJECTIONS = (
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.RecordListTooLargeError,
    kafka_errors.InvalidRecordError,
    kafka_errors.InvalidTimestampError,
    kafka_errors.InvalidTopicError,
)
"""Errors of the record itself. All other errors are conditions of its topic and may be transient."""


class Producer:
    """Sends records and waits for their acknowledgement. Not for use from two threads at once."""

    def __init__(self, client_options: Mapping[str, Any], *, client_id: str) -> None:
        self._options = {
            **CLIENT_OPTIONS,
            **client_options,
            "client_id": client_id,
            "acks": "all",
            "request_timeout_ms": milliseconds(DEADLINE),
            "delivery_timeout_ms": milliseconds(DEADLINE) + 1000,
            "metadata_max_age_ms": milliseconds(_METADATA_AGE),
            # Topics are known before `send` is called; this bounds the wait for one that disappeared in between.
            "max_block_ms": milliseconds(_DOUBT),
        }
        self._client: KafkaProducer | None = None
        self._partitions: dict[str, int] = {}

    def send(self, records: Sequence[OutRecord], *, within: timedelta = DEADLINE) -> list[Exception | None]:
        """Send (topic, key, value, headers) records and wait for the brokers; `within` bounds the wait for all records together.

        Returns:
            Per record None when all in-sync replicas have it, else `Rejected`, `TopicUnavailable` or `BrokersAway`.
        """
        if not records:
            return []
        began = time.monotonic()
        end = began + within.total_seconds()
        if self._client is None:
            self._client = KafkaProducer(**self._options)
        client = self._client
        _learn(client, {record[0] for record in records}, end)
        for topic in {record[0] for record in records}:
            self._partitions[topic] = len(client._metadata.partitions_for_topic(topic) or ()) or self._partitions.get(topic, 0)  # noqa: SLF001 - see `_learn`
        handed = [_hand_over(client, record, began, end) for record in records]
        failpoint.reach("producer.after_send")
        wave = _Wave([each for each in handed if not isinstance(each, Exception)])
        wave.wait(client, began, end)
        outcomes = [
            each if isinstance(each, Exception) else _outcome(client, record[0], each, began, wave)
            for record, each in zip(records, handed, strict=True)
        ]
        if any(_is_unclear(each, outcome) for each, outcome in zip(handed, outcomes, strict=True)):
            self._discard()
        return outcomes

    def partition_of(self, topic: str, key: str) -> str:
        """Return `topic/partition` of records of a key; the topic's name if its partitions are not known yet, or there is one."""
        count = self._partitions.get(topic, 0)
        return f"{topic}/{_partition(key, count)}" if count > 1 else topic

    def close(self) -> None:
        """Close the client, and wait up to a second for its thread. The next `send` creates a new client."""
        ending = self._discard()
        if ending is not None:
            ending.join(1)

    def _discard(self) -> threading.Thread | None:
        """Discard the client with all records that it holds, without waiting: a separate thread monitors its end."""
        client, self._client = self._client, None
        if client is None:
            return None
        # Call this before `close`, which waits until everything is sent, and returns without ending the sender if that takes too long.
        client._sender.force_close()  # noqa: SLF001 - the client has no public way to drop what it holds
        ending = threading.Thread(target=_end, args=(client,), name="producer-end", daemon=True)
        ending.start()
        return ending


class _Wave:
    """Waits for a set of futures together."""

    def __init__(self, futures: Sequence[Any]) -> None:
        self.acknowledged = 0
        self._pending = len(futures)
        self._last = 0.0
        self._changed = threading.Condition()
        for future in futures:
            future.add_callback(self._on_success)
            future.add_errback(self._on_failure)

    def wait(self, client: KafkaProducer, began: float, end: float) -> None:
        """Return when all futures are done, at `end`, or when the rest is unlikely to complete."""
        asked = False
        with self._changed:
            while self._pending:
                now = time.monotonic()
                last = end
                if self.acknowledged:
                    last = min(end, self._last + _STRAGGLERS.total_seconds())
                elif asked and _answered_since(client, began):
                    last = min(end, began + _SILENCE.total_seconds())
                if now >= last:
                    return
                if not asked and now >= began + _DOUBT.total_seconds():
                    asked = True
                    client._metadata.request_update()  # noqa: SLF001 - see `_learn`
                self._changed.wait(min(_CHECK_SECONDS, last - now))

    def _on_success(self, _metadata: object) -> None:
        with self._changed:
            self.acknowledged += 1
            self._last = time.monotonic()
            self._one_less()

    def _on_failure(self, _error: object) -> None:
        with self._changed:
            self._one_less()

    def _one_less(self) -> None:
        self._pending -= 1
        if self._pending == 0:
            self._changed.notify_all()


def _learn(client: KafkaProducer, topics: set[str], end: float) -> None:
    """Fetch the partitions and leaders of topics; return when all are known, or after two responses without a leader for some.

    The client's own `send` and `partitions_for` wait for one topic at a time, and for a missing topic until the time-out.
    """
    cluster, sender = client._metadata, client._sender  # noqa: SLF001 - the client offers these nowhere else
    wanted = {topic for topic in topics if _is_valid(topic) and not _has_leaders(cluster, topic)}
    for topic in wanted:
        sender.add_topic(topic)
    answers = 0
    while answers < _ANSWERS and time.monotonic() < end and not all(_has_leaders(cluster, topic) for topic in wanted):
        asks = all(topic in cluster._topics for topic in wanted)  # noqa: SLF001 - the sender takes new topics up at its next turn
        asked = time.monotonic()
        answered = threading.Event()
        cluster.request_update().add_both(lambda *_, answered=answered: answered.set())
        sender.wakeup()
        answered.wait(min(_DOUBT.total_seconds(), max(0.0, end - asked)))
        answers += asks and _answered_since(client, asked)


def _hand_over(client: KafkaProducer, record: OutRecord, began: float, end: float) -> Any:  # noqa: ANN401 - the library's future
    """Pass a record to the client; return its future, or the error if its partition accepts no record now."""
    topic, key, value, headers = record
    if not _is_valid(topic):
        return Rejected(f"{topic}: not a topic's name")
    try:
        partition, reason = _place(client, topic, key.encode(), value)
        if reason is not None:
            return TopicUnavailable(topic, reason) if _answered_since(client, began) else BrokersAway(_AWAY)
        if time.monotonic() >= end:
            return TopicUnavailable(topic, "NotAcknowledged")
        return client.send(topic, value, key.encode(), [(name, text.encode()) for name, text in headers], partition)
    except kafka_errors.KafkaError as error:
        return _explain(topic, error)
    except ValueError:  # The metadata changed in between.
        return TopicUnavailable(topic, "UnknownTopicOrPartition")


def _place(client: KafkaProducer, topic: str, key: bytes, value: bytes) -> tuple[int | None, str | None]:
    """Return a record's partition, or the reason why it accepts no write according to the client's metadata."""
    cluster = client._metadata  # noqa: SLF001 - see `_learn`
    if topic in cluster.unauthorized_topics:
        return None, "TopicAuthorizationFailed"
    if cluster.partitions_for_topic(topic) is None:
        return None, "UnknownTopicOrPartition"
    partition = client._partition(topic, None, None, None, key, value)  # noqa: SLF001 - its leader matters, so we choose it here
    led = cluster.leader_for_partition(TopicPartition(topic, partition)) not in _NO_LEADER
    return partition, None if led else "LeaderNotAvailable"


@lru_cache(maxsize=50_000)
def _partition(key: str, count: int) -> int:
    """Return the partition of a key, as the client's partitioner chooses it."""
    return int((murmur2(key.encode()) & 0x7FFFFFFF) % count)


def _outcome(client: KafkaProducer, topic: str, future: Any, began: float, wave: _Wave) -> Exception | None:  # noqa: ANN401 - as above
    if future.succeeded():
        return None
    if future.is_done:
        return _explain(topic, future.exception)
    if wave.acknowledged or _answered_since(client, began):
        return TopicUnavailable(topic, "NotAcknowledged")
    return BrokersAway(_AWAY)


def _explain(topic: str, error: Exception) -> Exception:
    name = type(error).__name__.removesuffix("Error")
    return Rejected(f"{topic}: {name}") if isinstance(error, _REJECTIONS) else TopicUnavailable(topic, name)


def _is_unclear(handed: Any, outcome: Exception | None) -> bool:  # noqa: ANN401 - a future or an error
    """Return whether the client may still send a record, or may have an invalid sequence number for a partition."""
    return not isinstance(handed, Exception) and outcome is not None and not isinstance(outcome, Rejected)


def _is_valid(topic: str) -> bool:
    try:
        ensure_valid_topic_name(topic)
    except (TypeError, ValueError):
        return False
    return True


def _has_leaders(cluster: Any, topic: str) -> bool:  # noqa: ANN401 - the library's metadata
    partitions = cluster.partitions_for_topic(topic)
    return bool(partitions) and all(cluster.leader_for_partition(TopicPartition(topic, each)) not in _NO_LEADER for each in partitions)


def _answered_since(client: KafkaProducer, began: float) -> bool:
    """Return whether a broker has answered a metadata request since `since`, in seconds of the monotonic clock."""
    answered: float = client._metadata._last_successful_refresh_ms  # noqa: SLF001 - no public API returns this
    return answered >= began * 1000


def _end(client: KafkaProducer) -> None:
    """Wait until a client's sender thread is gone, and free the rest."""
    client._sender.join(_SENDER_PATIENCE.total_seconds())  # noqa: SLF001 - see `_discard`
    if client._sender.is_alive():  # noqa: SLF001
        log.error("producer_thread_not_stopped", patience_seconds=_SENDER_PATIENCE.total_seconds())
    # Otherwise the close of a sender that still runs, and the finalizer of the client, would wait for each batch.
    client._accumulator.abort_incomplete_batches()  # noqa: SLF001
    with suppress(kafka_errors.KafkaError):
        client.close(timeout=0)
