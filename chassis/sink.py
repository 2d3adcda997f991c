"""Where a consumer's records go: into a transaction with their effect, or into what is produced of them.

    records ► effect, inbox rows and outbox rows in one transaction ► the consumer commits their offsets

Three outcomes of a message: it cannot be handled now (`RetryLater`, or a transient error of the database: the batch waits), it can never
be handled (`InvalidMessage`: dead letter), or our code is wrong (any other exception: dead letter while the limit lasts, then the process
ends and the topic waits). A batch in which anything fails is retried message by message, so that one message does not fail the others.

The cause of a statement time-out is either one message, or a database that is slow for all messages. So such a batch is split too. A
message that repeatedly times out alone while the database works becomes a dead letter with reason `STATEMENT_TIMEOUT`.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import structlog
from sqlalchemy.exc import DBAPIError

from chassis.dead_letter import SUFFIX, DeadLetterLimit, dead_letter
from chassis.inbox import claim, release
from chassis.message import InvalidMessage, RetryLater, read_record
from chassis.publisher import reason_of
from chassis.sql import SqlUnitOfWork, is_healthy, limit_statements
from chassis.transient import is_transient, ran_out_of_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy import Table

    from chassis.clock import Clock
    from chassis.message import InMessage, OutMessage, Record
    from chassis.metrics import ChassisMetrics
    from chassis.producer import Producer

log = structlog.get_logger()

U = TypeVar("U", bound=SqlUnitOfWork)
U_contra = TypeVar("U_contra", bound=SqlUnitOfWork, contravariant=True)

_LONE_STATEMENT_LIMIT = timedelta(seconds=1)
"""Statement time-out for one message. Its statements take milliseconds, and one slow message must not delay the others for long."""
_LONE_TRIES = 3
_SLOW_IN_A_ROW = 5
"""Number of time-outs in a row, without a success, after which the database counts as slow."""


class Sink(Protocol):
    """Where a consumer's records go."""

    def process(self, records: Sequence[Record], step: Callable[[], None] = ...) -> None:
        """Handle records, durably, before returning.

        Args:
            records: What to handle.
            step: Called after each record that is handled alone, so that a slow batch is not taken for one that hangs.

        Raises:
            Exception: A transient error (`chassis.transient.is_transient`). Call again with the same records: the inbox recognises those
            that were handled.
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
        on_repeated: BatchHandler[U] = lambda _uow, _messages: None,
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
            on_repeated: Called after `handler` with messages whose id was claimed before, e.g. to refuse different content under the same
                id.
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
        self._on_repeated = on_repeated
        self._suspects: set[bytes | None] = set()

    def process(self, records: Sequence[Record], step: Callable[[], None] = lambda: None) -> None:
        """Handle records together, or one by one where together fails."""
        self._metrics.batch_size.observe(len(records))
        try:
            self._transact(records)
        except Exception as error:
            if is_transient(error) and not ran_out_of_time(error):
                raise
            if len(records) > 1:
                log.warning("batch_split", consumer=self._consumer, size=len(records), error=type(error).__name__)
            self._process_each(records, step)
        self._suspects.clear()

    def _process_each(self, records: Sequence[Record], step: Callable[[], None]) -> None:
        """Handle each record alone; those that time out, and those behind them of the same key, last.

        Raises:
            DBAPIError: The first ones timed out, and none was handled. When they come again, the others go first and show whether the
                database is slow.
        """
        slow: list[Record] = []
        handled = 0
        for record in sorted(records, key=lambda record: record.key in self._suspects):
            step()
            if record.key is not None and any(record.key == each.key for each in slow):
                slow.append(record)
                continue
            try:
                self._process_alone(record)
            except DBAPIError as error:
                slow.append(record)
                if not ran_out_of_time(error):
                    raise
                if not handled and len(slow) == _SLOW_IN_A_ROW:
                    self._suspects |= {each.key for each in slow}
                    raise
            else:
                handled += 1
        for record in slow:
            step()
            self._process_slow(record)

    def _process_slow(self, record: Record) -> None:
        """Handle a record that timed out before; write a dead letter if it repeatedly times out while the database works.

        Raises:
            DBAPIError: The record timed out while the database is slow for all.
        """
        for left in reversed(range(_LONE_TRIES - 1)):
            try:
                self._process_alone(record)
            except DBAPIError as error:
                if not ran_out_of_time(error) or (not left and not self._database_is_healthy()):
                    raise
                last = error
            else:
                return
        log.error("message_timed_out", topic=record.topic, partition=record.partition, offset=record.offset, error=type(last).__name__)
        self._bury_alone(record, InvalidMessage("STATEMENT_TIMEOUT", f"{_LONE_TRIES} tries"), limited=True)

    def _database_is_healthy(self) -> bool:
        with self._open() as uow:
            limit_statements(uow.connection, _LONE_STATEMENT_LIMIT)
            return is_healthy(uow.connection)

    def _process_alone(self, record: Record) -> None:
        try:
            self._transact([record], limit=_LONE_STATEMENT_LIMIT)
        except InvalidMessage as error:
            self._bury_alone(record, error, limited=self._limited(record.topic))
        except Exception as error:
            if is_transient(error):
                raise
            log.exception("message_failed", topic=record.topic, partition=record.partition, offset=record.offset)
            # The text of an unknown error may hold parts of the message; its type does not.
            self._bury_alone(record, InvalidMessage("BUG", type(error).__name__), limited=True)

    def _transact(self, records: Sequence[Record], *, limit: timedelta | None = None) -> None:
        """Handle records in one transaction, with `limit` as statement time-out if given."""
        messages = [read_record(record) for record in records]
        told = [message for message in messages if self._relevant(message)]
        outcomes = {message.position: "ignored" for message in messages} | {message.position: "repeated" for message in told}
        if told:
            self._take(records, messages, told, outcomes, limit)
        for (topic, outcome), count in Counter((message.topic, outcomes[message.position]) for message in messages).items():
            self._metrics.consumed.labels(topic, outcome).inc(count)

    def _take(
        self,
        records: Sequence[Record],
        messages: Sequence[InMessage],
        told: Sequence[InMessage],
        outcomes: dict[str, str],
        limit: timedelta | None,
    ) -> None:
        """Handle what was told in one transaction, and note each outcome; `records` are those of `messages`."""
        with self._open() as uow:
            if limit is not None:
                limit_statements(uow.connection, limit)
            fresh = self._claim(uow, told)
            outcomes |= {message.position: "done" for message in fresh}
            invalid = {message.position: error for message, error in (self._handler(uow, fresh) if fresh else None) or ()}
            if invalid and len({self._message_id(message) for message in told}) < len(told):
                # A corrected copy under the same id may stand behind an invalid one: one by one it gets its turn.
                raise next(iter(invalid.values()))
            released = [self._message_id(message) for message in fresh if message.position in invalid]
            repeated = [message for message in told if outcomes[message.position] == "repeated"]
            invalid |= {message.position: error for message, error in (self._on_repeated(uow, repeated) if repeated else None) or ()}
            for record, message in zip(records, messages, strict=True):
                error = invalid.get(message.position)
                if error is not None:
                    outcomes[message.position] = self._bury(uow, record, error, limited=self._limited(record.topic))
            release(uow.connection, self._inbox, released)
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

    def process(self, records: Sequence[Record], step: Callable[[], None] = lambda: None) -> None:
        """Handle records and produce what comes of them; every future is checked before this returns."""
        self._metrics.batch_size.observe(len(records))
        try:
            produced = self._handler([read_record(record) for record in records])
        except Exception as error:
            if is_transient(error):
                raise
            produced = [message for record in records for message in self._handle_alone(record, step)]
        self._produce(produced)
        buried = sum(message.topic.endswith(SUFFIX) for message in produced)
        self._metrics.consumed.labels(records[0].topic, "dead_lettered").inc(buried)
        self._metrics.consumed.labels(records[0].topic, "done").inc(len(records) - buried)

    def _handle_alone(self, record: Record, step: Callable[[], None]) -> Sequence[OutMessage]:
        step()
        try:
            return self._handler([read_record(record)])
        except InvalidMessage as error:
            reason, detail = error.reason, error.detail
        except Exception as error:
            if is_transient(error):
                raise
            log.exception("message_failed", topic=record.topic, partition=record.partition, offset=record.offset)
            reason, detail = "BUG", type(error).__name__
        self._limit.spend(f"{record.topic}/{record.partition}/{record.offset}")
        return [dead_letter(record, consumer=self._consumer, reason=reason, detail=detail, now=self._clock.now())]

    def _produce(self, messages: Sequence[OutMessage]) -> None:
        outcomes = self._producer.send([(m.topic, m.key, m.data, m.headers(self._source)) for m in messages])
        for message, error in zip(messages, outcomes, strict=True):
            if error is not None:
                self._metrics.publish_failures.labels(message.topic, reason_of(error)).inc()
                raise RetryLater(message.topic) from error
            self._metrics.published.labels(message.topic).inc()
