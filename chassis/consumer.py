"""Kafka: a consumer whose offsets follow the effect.

    poll ► the sink takes the records ► commit offsets

A process that dies in between reads the records again, and the sink recognises what it has handled.
"""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog
from kafka import KafkaConsumer
from kafka import errors as kafka_errors
from kafka.structs import OffsetAndMetadata, TopicPartition

from chassis import failpoint
from chassis.kafka import CLIENT_OPTIONS, METADATA_TIMEOUT, milliseconds
from chassis.kafka_records import CONSUMER_OPTIONS, MOST_POLLED_BYTES
from chassis.transient import is_transient
from chassis.watchdog import Progress

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping, Sequence

    from chassis.message import Record
    from chassis.metrics import ChassisMetrics
    from chassis.sink import Sink
    from chassis.watchdog import Watch

log = structlog.get_logger()

_COMMIT_INTERVAL = timedelta(milliseconds=250)
_COMMIT_RETRY = timedelta(seconds=1)
_IDLE_POLL = timedelta(milliseconds=250)
_HEARTBEAT = timedelta(milliseconds=500)
"""A member learns from a heartbeat response that another member has left. Until then nobody reads that member's partitions."""
_CLOSE_TIMEOUT = timedelta(seconds=3)
_REBUILD_PAUSE = timedelta(milliseconds=500)
_RECOVERY_PAUSE = timedelta(milliseconds=100)
_RECOVERY_POLLS = 50
"""So many polls in a row fail by their connection before the client is replaced."""
_TYPICAL_RECORD_BYTES = 600
_STEP_LIMIT = timedelta(seconds=60)
"""A poll, a commit, a batch, or a record that is handled alone, that takes longer hangs."""
_WHOLE_BATCH_BYTES = MOST_POLLED_BYTES // 2
_LONGEST_BACK_OFF = timedelta(seconds=2)

_LOST_MEMBERSHIP = (
    kafka_errors.CommitFailedError,
    kafka_errors.IllegalGenerationError,
    kafka_errors.RebalanceInProgressError,
    kafka_errors.UnknownMemberIdError,
)
"""The commit came too late: another member may own the partitions now, and it reads the records again."""


class Consumer:
    """Reads topics for a group and hands every batch to a sink: a component."""

    name = "consumer"
    stops_at_once = True
    """Nobody reads its partitions until it leaves its group. So it does not wait until the gRPC server has drained."""

    def __init__(
        self,
        topics: Sequence[str],
        sink: Sink,
        *,
        group: str,
        client_options: Mapping[str, Any],
        metrics: ChassisMetrics,
        batch: int,
        linger: timedelta,
        session_timeout: timedelta,
        watch: Watch = Progress,
    ) -> None:
        """Read `topics` for `group`, at most `batch` records at once.

        Args:
            topics: Literal names.
            sink: Where records go.
            group: Consumer group.
            client_options: Connection and security, for the client.
            metrics: Where retries are counted.
            batch: Most records in one call of the sink.
            linger: How long the brokers may gather records, so that a busy consumer handles many at once; a batch that is full comes
                sooner.
            session_timeout: How long the group waits for a dead member; at least the broker's minimum of 6 s.
            watch: Returns the progress of polls, batches and commits; unwatched by default.
        """
        self._topics = list(topics)
        self._sink = sink
        self._metrics = metrics
        self._batch = batch
        self._failed_polls = 0
        self._progress = watch(f"{self.name} {group}", _STEP_LIMIT)
        self._options = {
            **CLIENT_OPTIONS,
            **CONSUMER_OPTIONS,
            **client_options,
            "group_id": group,
            "client_id": group,
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest",
            "session_timeout_ms": milliseconds(session_timeout),
            "heartbeat_interval_ms": milliseconds(min(_HEARTBEAT, session_timeout / 3)),
            "max_poll_records": batch,
            "fetch_min_bytes": batch * _TYPICAL_RECORD_BYTES,
            "fetch_max_wait_ms": milliseconds(linger),
            "bootstrap_timeout_ms": milliseconds(METADATA_TIMEOUT),
        }

    def run(self, stop: threading.Event) -> None:
        """Consume until `stop` is set. Create a new client after an error from which the old one does not recover."""
        while not stop.is_set():
            try:
                self._consume(stop)
            except kafka_errors.KafkaError as error:
                log.warning("consumer_lost_brokers", error=type(error).__name__)
                stop.wait(_REBUILD_PAUSE.total_seconds())

    def _consume(self, stop: threading.Event) -> None:
        consumer = KafkaConsumer(*self._topics, **self._options)
        self._failed_polls = 0
        offsets = _Offsets(consumer)
        try:
            while not stop.is_set():
                # While partitions are paused, the poll returns at once with the records of the others.
                patience = 0 if consumer.paused() else offsets.time_left()
                with self._progress.round():
                    polled = self._poll(consumer, patience, stop)
                records = [record for partition in polled.values() for record in partition]
                if records:
                    if not self._process(records, stop):
                        return
                    failpoint.reach("consumer.before_offset_commit")
                    offsets.note(polled)
                self._take_turns(consumer, polled, records)
                if offsets.due() or (stop.is_set() and offsets.waiting):
                    with self._progress.round():
                        offsets.commit()
        finally:
            with suppress(kafka_errors.KafkaError):
                consumer.close(autocommit=False, timeout_ms=milliseconds(_CLOSE_TIMEOUT))

    def _poll(self, consumer: KafkaConsumer, patience: int, stop: threading.Event) -> Mapping[TopicPartition, Sequence[Record]]:
        """Return the next records by partition; none if the connection to the coordinator broke.

        The client raises the error that ended its heartbeats before it takes any record. The consumer stays a member of its group, and its
        heartbeats start again. A new consumer would have to wait until the session of the old one has expired.

        Args:
            consumer: The client.
            patience: Longest wait for records, in milliseconds.
            stop: Ends the pause after an error.

        Raises:
            KafkaError: The client does not recover, or not within `_RECOVERY_POLLS` polls.
        """
        try:
            polled: Mapping[TopicPartition, Sequence[Record]] = consumer.poll(timeout_ms=patience, max_records=self._batch)
        except kafka_errors.KafkaConnectionError as error:
            self._failed_polls += 1
            if self._failed_polls > _RECOVERY_POLLS:
                raise
            log.info("consumer_heartbeats_lost", error=type(error).__name__)
            stop.wait(_RECOVERY_PAUSE.total_seconds())
            with suppress(kafka_errors.KafkaConnectionError):
                # The public methods start the heartbeats only when the group rebalances.
                consumer._coordinator.ensure_active_group(timeout_ms=milliseconds(_RECOVERY_PAUSE))  # noqa: SLF001
            return {}
        self._failed_polls = 0
        return polled

    def _take_turns(self, consumer: KafkaConsumer, polled: Mapping[TopicPartition, Sequence[Record]], records: Sequence[Record]) -> None:
        """Pause the partitions that filled a batch for one poll: the client returns all records of one partition before the next."""
        if len(records) >= self._batch or sum(len(record.value or b"") for record in records) >= _WHOLE_BATCH_BYTES:
            consumer.pause(*polled)
        elif consumer.paused():
            consumer.resume(*consumer.paused())

    def _process(self, records: Sequence[Record], stop: threading.Event) -> bool:
        """Hand records to the sink until it takes them; False if told to stop before: they come again to whoever reads next."""
        pause = timedelta(milliseconds=100)
        while not stop.is_set():
            try:
                with self._progress.round():
                    self._sink.process(records, self._progress.step)
            except Exception as error:
                if not is_transient(error):
                    raise
                self._metrics.retries.labels(type(error).__name__).inc()
                log.warning("batch_put_off", error=type(error).__name__, size=len(records), pause_seconds=pause.total_seconds())
                stop.wait(pause.total_seconds())
                pause = min(pause * 2, _LONGEST_BACK_OFF)
            else:
                return True
        return False


class _Offsets:
    """Offsets of handled records that are not committed yet, of one consumer."""

    def __init__(self, consumer: KafkaConsumer) -> None:
        self._consumer = consumer
        self._commit_at = 0.0
        self.waiting: dict[TopicPartition, OffsetAndMetadata] = {}

    def note(self, polled: Mapping[TopicPartition, Sequence[Record]]) -> None:
        """Record the offsets of handled records. A synchronous commit costs as much as many messages, so that several batches share one."""
        if not self.waiting:
            self._commit_at = time.monotonic() + _COMMIT_INTERVAL.total_seconds()
        self.waiting |= {partition: OffsetAndMetadata(records[-1].offset + 1, "", -1) for partition, records in polled.items()}

    def time_left(self) -> int:
        """Return how long a poll may wait, in milliseconds."""
        left = self._commit_at - time.monotonic() if self.waiting else _IDLE_POLL.total_seconds()
        return int(max(0.0, left) * 1000)

    def due(self) -> bool:
        """Return whether it is time to commit."""
        return bool(self.waiting) and time.monotonic() >= self._commit_at

    def commit(self) -> None:
        """Commit the offsets of partitions that are still assigned; retry later if the coordinator does not answer.

        The consumer keeps its membership meanwhile, and continues after the coordinator recovers. A new consumer would wait until the
        session of the old one has timed out.
        """
        self.waiting = {partition: offset for partition, offset in self.waiting.items() if partition in self._consumer.assignment()}
        try:
            self._consumer.commit(self.waiting, timeout_ms=milliseconds(METADATA_TIMEOUT))
        except _LOST_MEMBERSHIP as error:
            log.info("offsets_not_committed", error=type(error).__name__)
        except kafka_errors.RetriableError as error:
            log.warning("offsets_not_committed", error=type(error).__name__)
            self._commit_at = time.monotonic() + _COMMIT_RETRY.total_seconds()
            return
        self.waiting = {}
