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

from chassis import failpoint, kafka_records  # noqa: F401 - consumers read through the second
from chassis.kafka import CLIENT_OPTIONS, METADATA_TIMEOUT, milliseconds
from chassis.transient import is_transient

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping, Sequence

    from chassis.message import Record
    from chassis.metrics import ChassisMetrics
    from chassis.sink import Sink

log = structlog.get_logger()

_COMMIT_INTERVAL = timedelta(milliseconds=250)
_IDLE_POLL = timedelta(milliseconds=500)
_TYPICAL_RECORD_BYTES = 600
_LONGEST_BACK_OFF = timedelta(seconds=5)


class Consumer:
    """Reads topics for a group and hands every batch to a sink: a component."""

    name = "consumer"

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
        """
        self._topics = list(topics)
        self._sink = sink
        self._metrics = metrics
        self._batch = batch
        self._options = {
            **CLIENT_OPTIONS,
            **client_options,
            "group_id": group,
            "client_id": group,
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest",
            "session_timeout_ms": milliseconds(session_timeout),
            "heartbeat_interval_ms": milliseconds(session_timeout) // 3,
            "max_poll_records": batch,
            "fetch_min_bytes": batch * _TYPICAL_RECORD_BYTES,
            "fetch_max_wait_ms": milliseconds(linger),
            "bootstrap_timeout_ms": milliseconds(METADATA_TIMEOUT),
        }

    def run(self, stop: threading.Event) -> None:
        """Consume until `stop` is set. The client is built anew after any of its errors."""
        while not stop.is_set():
            try:
                self._consume(stop)
            except kafka_errors.KafkaError as error:
                log.warning("consumer_lost_brokers", error=type(error).__name__)
                stop.wait(1)

    def _consume(self, stop: threading.Event) -> None:
        consumer = KafkaConsumer(*self._topics, **self._options)
        commit_at: float | None = None
        try:
            while not stop.is_set():
                patience = _IDLE_POLL.total_seconds() if commit_at is None else max(0.0, commit_at - time.monotonic())
                polled = consumer.poll(timeout_ms=int(patience * 1000), max_records=self._batch)
                records = [record for partition in polled.values() for record in partition]
                if records:
                    if not self._process(records, stop):
                        return
                    failpoint.reach("consumer.before_offset_commit")
                    # A synchronous commit costs as much as many messages: several batches share one.
                    commit_at = commit_at or time.monotonic() + _COMMIT_INTERVAL.total_seconds()
                if commit_at is not None and (stop.is_set() or time.monotonic() >= commit_at):
                    consumer.commit(timeout_ms=milliseconds(METADATA_TIMEOUT))
                    commit_at = None
        finally:
            with suppress(kafka_errors.KafkaError):
                consumer.close(autocommit=False, timeout_ms=3000)

    def _process(self, records: Sequence[Record], stop: threading.Event) -> bool:
        """Hand records to the sink until it takes them; False if told to stop before: they come again to whoever reads next."""
        pause = timedelta(milliseconds=100)
        while not stop.is_set():
            try:
                self._sink.process(records)
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
