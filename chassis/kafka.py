"""Kafka: a producer that checks every future, and a consumer whose offsets follow the effect.

    poll ► effect, inbox rows and outbox rows in one transaction ► commit offsets

Three outcomes of a message: it cannot be handled now (`RetryLater`: the batch waits), it can never be handled (`InvalidMessage`: dead
letter), or our code is wrong (any other exception: dead letter while the limit lasts, then the process ends and the topic waits). A batch
in which anything fails is handled again message by message, so that one does not spoil the others.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import structlog
from kafka import KafkaConsumer, KafkaProducer
from kafka import errors as kafka_errors
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from chassis import failpoint, kafka_records  # noqa: F401 - consumers read through the second
from chassis.dead_letter import SUFFIX, DeadLetterLimit, dead_letter
from chassis.inbox import claim, release
from chassis.message import InvalidMessage, RetryLater, read_record
from chassis.outbox import Rejected
from chassis.sql import SqlUnitOfWork

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy import Table

    from chassis.clock import Clock
    from chassis.message import InMessage, OutMessage, Record
    from chassis.metrics import ChassisMetrics

log = structlog.get_logger()

U = TypeVar("U", bound=SqlUnitOfWork)
U_contra = TypeVar("U_contra", bound=SqlUnitOfWork, contravariant=True)

# The protocol is pinned so that clients can be built while the brokers are away.
_API_VERSION = (2, 6)
_REQUEST_TIMEOUT = timedelta(seconds=8)
_DELIVERY_TIMEOUT = timedelta(seconds=10)
_METADATA_TIMEOUT = timedelta(seconds=3)
_COMMIT_INTERVAL = timedelta(milliseconds=250)
_IDLE_POLL = timedelta(milliseconds=500)
_TYPICAL_RECORD_BYTES = 600
_LONGEST_BACK_OFF = timedelta(seconds=5)

TRANSIENT = (RetryLater, OperationalError, InterfaceError, PoolTimeout)
"""Errors after which the same work may succeed: a lost connection, a lock or statement that took too long, a deadlock."""

_REJECTIONS = (
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.InvalidTopicError,
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.UnknownTopicOrPartitionError,
)


def _milliseconds(duration: timedelta) -> int:
    return int(duration / timedelta(milliseconds=1))


class Producer:
    """Sends records and waits for their acknowledgement. Not for use from two threads at once."""

    def __init__(self, client_options: Mapping[str, Any], *, client_id: str) -> None:
        self._options = {**client_options, "client_id": client_id}
        self._producer: KafkaProducer | None = None
        self._missing: set[str] = set()
        self._away: Exception | None = None

    def send(self, records: Sequence[tuple[str, str, bytes, list[tuple[str, str]]]]) -> list[Exception | None]:
        """Send (topic, key, value, headers) records and wait for the brokers.

        Returns:
            Per record None when all in-sync replicas have it, else the error; `Rejected` when sending it again as it is cannot help.
        """
        self._away = None
        futures = [self._send_one(*record) for record in records]
        failpoint.reach("producer.after_send")
        outcomes: list[Exception | None] = [f if isinstance(f, Exception) else self._outcome(f) for f in futures]
        if any(outcome is not None and not isinstance(outcome, Rejected) for outcome in outcomes):
            self.close()
        return outcomes

    def _send_one(self, topic: str, key: str, value: bytes, headers: list[tuple[str, str]]) -> Any:  # noqa: ANN401 - the library's future
        """Hand one record to the client; each fault costs its waiting time once a batch, not once a record."""
        if self._away is not None:
            return self._away
        if topic in self._missing and not self._is_known(topic):
            return Rejected(f"{topic}: no such topic")
        began = time.monotonic()
        try:
            if self._producer is None:
                self._producer = self._connect()
            return self._producer.send(topic, value, key.encode(), [(name, text.encode()) for name, text in headers])
        except _REJECTIONS as error:
            return Rejected(f"{topic}: {type(error).__name__}")
        except kafka_errors.KafkaTimeoutError as error:
            if not self._brokers_answered_since(began):
                self._away = error
            else:
                self._missing.add(topic)
            return self._away or Rejected(f"{topic}: no such topic")
        except kafka_errors.KafkaError as error:
            return error

    def _is_known(self, topic: str) -> bool:
        """Whether a topic that was missing is there now. Does not wait: the client goes on asking for what it did not find."""
        if self._producer is not None and self._producer._metadata.partitions_for_topic(topic) is None:  # noqa: SLF001 - `partitions_for` waits
            return False
        self._missing.discard(topic)
        return True

    def _brokers_answered_since(self, began: float) -> bool:
        """Whether brokers told of their topics meanwhile: the client's timeout does not tell a missing topic from missing brokers."""
        if self._producer is None:
            return False
        answered: float = self._producer._metadata._last_successful_refresh_ms  # noqa: SLF001 - it tells this nowhere else
        return answered >= began * 1000

    def _outcome(self, future: Any) -> Exception | None:  # noqa: ANN401 - the library's future
        try:
            future.get(timeout=(_DELIVERY_TIMEOUT + _REQUEST_TIMEOUT).total_seconds())
        except _REJECTIONS as error:
            return Rejected(type(error).__name__)
        except kafka_errors.KafkaError as error:
            failure: Exception = error
            return failure
        return None

    def _connect(self) -> KafkaProducer:
        return KafkaProducer(
            **self._options,
            api_version=_API_VERSION,
            acks="all",
            request_timeout_ms=_milliseconds(_REQUEST_TIMEOUT),
            delivery_timeout_ms=_milliseconds(_DELIVERY_TIMEOUT),
            max_block_ms=_milliseconds(_METADATA_TIMEOUT),
            reconnect_backoff_max_ms=1000,
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )

    def close(self) -> None:
        """Drop the connection; the next `send` makes a new one: a producer that failed may have lost its place in the sequence."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(kafka_errors.KafkaTimeoutError):
                producer.close(timeout=1)


class Sink(Protocol):
    """Where a consumer's records go."""

    def process(self, records: Sequence[Record]) -> None:
        """Handle records, durably, before returning.

        Raises:
            Exception: One of `TRANSIENT`: nothing was handled, or what was handled will be recognised; call again with the same records.
        """
        ...


class BatchHandler(Protocol[U_contra]):
    """What a service does with messages, inside a transaction."""

    def __call__(self, uow: U_contra, messages: Sequence[InMessage]) -> Sequence[tuple[InMessage, InvalidMessage]] | None:
        """Handle messages that were not handled before, in their order; do not commit.

        Returns:
            Messages that can never be handled and had no effect; they become dead letters and the others stand. Raising `InvalidMessage`
            does the same, at the price of handling the whole batch again message by message.

        Raises:
            InvalidMessage: One can never be handled.
            RetryLater: One cannot be handled now.
        """
        ...


class TransactionalSink(Generic[U]):
    """Effect, inbox and dead letters in one transaction."""

    def __init__(
        self,
        open_unit_of_work: Callable[[], AbstractContextManager[U]],
        inbox: Table,
        handler: BatchHandler[U],
        *,
        consumer: str,
        clock: Clock,
        metrics: ChassisMetrics,
        message_id: Callable[[InMessage], str] = lambda message: message.id or message.position,
        relevant: Callable[[InMessage], bool] = lambda _message: True,
        limited: Callable[[str], bool] = lambda _topic: True,
        limit: DeadLetterLimit | None = None,
        on_dead_letter: Callable[[U, Record, InvalidMessage], None] = lambda _uow, _record, _error: None,
    ) -> None:
        """Wire a service's handler.

        Args:
            open_unit_of_work: Gives a new unit of work.
            inbox: The service's inbox.
            handler: What the service does.
            consumer: Name that dead letters carry.
            clock: Tells the time.
            metrics: Where outcomes are counted.
            message_id: Gives the id by which a repetition is recognised.
            relevant: Whether the handler does anything with a message; others leave no trace, not even in the inbox.
            limited: Whether invalid messages of a topic count against the limit; outsiders' garbage must not stop us.
            limit: Dead letters that may pass before the process ends; 20 a minute if None.
            on_dead_letter: Called in the transaction that buries an invalid message, e.g. to tell its sender.
        """
        self._open = open_unit_of_work
        self._inbox = inbox
        self._handler = handler
        self._consumer = consumer
        self._clock = clock
        self._metrics = metrics
        self._message_id = message_id
        self._relevant = relevant
        self._limited = limited
        self._limit = limit or DeadLetterLimit(20, timedelta(minutes=1))
        self._on_dead_letter = on_dead_letter

    def process(self, records: Sequence[Record]) -> None:
        """Handle records together, or one by one where together fails."""
        self._metrics.batch_size.observe(len(records))
        try:
            self._transact(records)
        except TRANSIENT:
            raise
        except Exception as error:  # noqa: BLE001 - each record is judged alone below
            if len(records) > 1:
                log.warning("batch_split", consumer=self._consumer, size=len(records), error=type(error).__name__)
            for record in records:
                self._process_alone(record)

    def _process_alone(self, record: Record) -> None:
        try:
            self._transact([record])
        except TRANSIENT:
            raise
        except InvalidMessage as error:
            self._bury_alone(record, error, limited=self._limited(record.topic))
        except Exception as error:
            log.exception("message_failed", topic=record.topic, partition=record.partition, offset=record.offset)
            # The text of an unknown error may hold parts of the message; its type does not.
            self._bury_alone(record, InvalidMessage("BUG", type(error).__name__), limited=True)

    def _transact(self, records: Sequence[Record]) -> None:
        messages = [read_record(record) for record in records]
        told = [message for message in messages if self._relevant(message)]
        outcomes = {message.position: "ignored" for message in messages} | {message.position: "repeated" for message in told}
        if told:
            self._take(records, messages, told, outcomes)
        for (topic, outcome), count in Counter((message.topic, outcomes[message.position]) for message in messages).items():
            self._metrics.consumed.labels(topic, outcome).inc(count)

    def _take(self, records: Sequence[Record], messages: Sequence[InMessage], told: Sequence[InMessage], outcomes: dict[str, str]) -> None:
        """Handle what was told in one transaction, and note each outcome; `records` are those of `messages`."""
        with self._open() as uow:
            fresh = self._claim(uow, told)
            outcomes |= {message.position: "done" for message in fresh}
            invalid = {message.position: error for message, error in (self._handler(uow, fresh) if fresh else None) or ()}
            if invalid and len({self._message_id(message) for message in told}) < len(told):
                # A corrected copy under the same id may stand behind an invalid one: one by one it gets its turn.
                raise next(iter(invalid.values()))
            for record, message in zip(records, messages, strict=True):
                error = invalid.get(message.position)
                if error is not None:
                    outcomes[message.position] = self._bury(uow, record, error, limited=self._limited(record.topic))
            release(uow.connection, self._inbox, [self._message_id(message) for message in fresh if message.position in invalid])
            uow.commit()

    def _claim(self, uow: U, messages: Sequence[InMessage]) -> list[InMessage]:
        first = {self._message_id(message): message for message in reversed(messages)}
        claimed = claim(uow.connection, self._inbox, list(first))
        return [message for message in messages if first[(key := self._message_id(message))] is message and key in claimed]

    def _bury_alone(self, record: Record, error: InvalidMessage, *, limited: bool) -> None:
        with self._open() as uow:
            outcome = self._bury(uow, record, error, limited=limited)
            uow.commit()
        self._metrics.consumed.labels(record.topic, outcome).inc()

    def _bury(self, uow: U, record: Record, error: InvalidMessage, *, limited: bool) -> str:
        """Bury a message once, though it comes again with a batch that was put off or with an offset that was not committed."""
        position = f"{record.topic}/{record.partition}/{record.offset}"
        # The timestamp tells it from a message at the same place of a topic that was deleted and made anew.
        if not claim(uow.connection, self._inbox, [f"dead:{position}@{record.timestamp}"]):
            return "repeated"
        if limited:
            self._limit.spend(position)
        log.error(
            "message_dead_lettered",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            reason=error.reason,
            detail=error.detail,
        )
        uow.publish(dead_letter(record, consumer=self._consumer, reason=error.reason, detail=error.detail, now=self._clock.now()))
        self._on_dead_letter(uow, record, error)
        return "dead_lettered"


class ProducingSink:
    """For a consumer that keeps nothing: its effect is what it produces."""

    def __init__(
        self,
        handler: Callable[[Sequence[InMessage]], Sequence[OutMessage]],
        producer: Producer,
        *,
        source: str,
        consumer: str,
        clock: Clock,
        metrics: ChassisMetrics,
        limit: DeadLetterLimit | None = None,
    ) -> None:
        """Wire a service's handler; it may raise `InvalidMessage`. Arguments as for `TransactionalSink`."""
        self._handler = handler
        self._producer = producer
        self._source = source
        self._consumer = consumer
        self._clock = clock
        self._metrics = metrics
        self._limit = limit or DeadLetterLimit(20, timedelta(minutes=1))

    def process(self, records: Sequence[Record]) -> None:
        """Handle records and produce what comes of them; every future is checked before this returns."""
        self._metrics.batch_size.observe(len(records))
        try:
            produced = self._handler([read_record(record) for record in records])
        except TRANSIENT:
            raise
        except Exception:  # noqa: BLE001 - each record is judged alone below
            produced = [message for record in records for message in self._handle_alone(record)]
        self._produce(produced)
        buried = sum(message.topic.endswith(SUFFIX) for message in produced)
        self._metrics.consumed.labels(records[0].topic, "dead_lettered").inc(buried)
        self._metrics.consumed.labels(records[0].topic, "done").inc(len(records) - buried)

    def _handle_alone(self, record: Record) -> Sequence[OutMessage]:
        try:
            return self._handler([read_record(record)])
        except TRANSIENT:
            raise
        except InvalidMessage as error:
            reason, detail = error.reason, error.detail
        except Exception as error:
            log.exception("message_failed", topic=record.topic, partition=record.partition, offset=record.offset)
            reason, detail = "BUG", type(error).__name__
        self._limit.spend(f"{record.topic}/{record.partition}/{record.offset}")
        return [dead_letter(record, consumer=self._consumer, reason=reason, detail=detail, now=self._clock.now())]

    def _produce(self, messages: Sequence[OutMessage]) -> None:
        outcomes = self._producer.send([(m.topic, m.key, m.data, m.headers(self._source)) for m in messages])
        for message, error in zip(messages, outcomes, strict=True):
            if error is not None:
                self._metrics.publish_failures.labels(type(error).__name__).inc()
                raise RetryLater(message.topic) from error
            self._metrics.published.labels(message.topic).inc()


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
            **client_options,
            "group_id": group,
            "client_id": group,
            "api_version": _API_VERSION,
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest",
            "session_timeout_ms": _milliseconds(session_timeout),
            "heartbeat_interval_ms": _milliseconds(session_timeout) // 3,
            "max_poll_records": batch,
            "fetch_min_bytes": batch * _TYPICAL_RECORD_BYTES,
            "fetch_max_wait_ms": _milliseconds(linger),
            "request_timeout_ms": _milliseconds(_REQUEST_TIMEOUT),
            "bootstrap_timeout_ms": _milliseconds(_METADATA_TIMEOUT),
            "reconnect_backoff_max_ms": 1000,
            "allow_auto_create_topics": False,
            "metrics_enabled": False,
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
                    consumer.commit(timeout_ms=_milliseconds(_METADATA_TIMEOUT))
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
            except TRANSIENT as error:
                self._metrics.retries.labels(type(error).__name__).inc()
                log.warning("batch_put_off", error=type(error).__name__, size=len(records), pause_seconds=pause.total_seconds())
                stop.wait(pause.total_seconds())
                pause = min(pause * 2, _LONGEST_BACK_OFF)
            else:
                return True
        return False
