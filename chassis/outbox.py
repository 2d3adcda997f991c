"""Outbox: messages commit with the state that they tell of; a relay publishes them, each ticket's in order, at least once.

    transaction: state + outbox rows ──commit──► relay: read ► send wave by wave ► every future checked ► delete

A wave holds of each key one row, or several of one type on a topic each: the same news to several readers. The next wave starts when
the one before is acknowledged. So each topic has a key's rows in the order in which they were written, other news come after, whatever
their topic, and a row that fails holds back its key alone.
One relay at a time works for a service, holding an advisory lock on a connection of its own. When that connection breaks a second relay
may start while the first still sends; both send a key's rows in order, so that the first copy of each is in order, and the inbox drops
the second.
The columns fit Debezium's outbox event router.
"""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import structlog
from sqlalchemy import BigInteger, Column, DateTime, Identity, Index, Integer, LargeBinary, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from chassis import failpoint
from chassis.bulk import bulk_insert
from chassis.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Engine, MetaData

    from chassis.message import OutMessage
    from chassis.metrics import ChassisMetrics

log = structlog.get_logger()

_BACK_OFF = timedelta(seconds=1)
_LONGEST_BACK_OFF = timedelta(seconds=15)


def outbox_table(metadata: MetaData) -> Table:
    """Declare the outbox of a service's schema."""
    return Table(
        "outbox",
        metadata,
        Column("seq", BigInteger, Identity(always=True), primary_key=True),
        Column("id", Text, nullable=False),
        Column("aggregatetype", Text, nullable=False, comment="topic"),
        Column("aggregateid", Text, nullable=False, comment="key of the record"),
        Column("type", Text, nullable=False),
        Column("payload", LargeBinary, nullable=False),
        Column("headers", JSONB, nullable=False, comment="all headers of the record, in order"),
        Column("create_time", DateTime(timezone=True), nullable=False),
        Column("attempts", Integer, nullable=False, server_default="0"),
        Column("retry_time", DateTime(timezone=True), comment="not before this; NULL: at once"),
        Column("last_error", Text),
        Index("outbox_held_back", "aggregateid", postgresql_where=text("retry_time IS NOT NULL")),
    )


class Outbox:
    """The writing side."""

    def __init__(self, table: Table, *, source: str) -> None:
        """Write to `table` as CloudEvents source `source`."""
        self.table = table
        self._source = source
        self._wake = threading.Event()

    def append(self, conn: Connection, messages: Sequence[OutMessage]) -> None:
        """Write messages in the transaction of `conn`, in their order."""
        bulk_insert(conn, self.table, [self._row(message) for message in messages])

    def wake(self) -> None:
        """Tell the relay of this process that rows were committed."""
        self._wake.set()

    def wait(self, timeout: timedelta) -> None:
        """Wait until rows were committed by this process, or until `timeout` is over."""
        self._wake.wait(timeout.total_seconds())
        self._wake.clear()

    def _row(self, message: OutMessage) -> dict[str, Any]:
        return {
            "id": message.id,
            "aggregatetype": message.topic,
            "aggregateid": message.key,
            "type": message.type,
            "payload": message.data,
            "headers": message.headers(self._source),
            "create_time": message.time,
        }


class Rejected(Exception):
    """The brokers will not take this message as it is; sending it again at once cannot help."""


class Publisher(Protocol):
    """Sends records; `chassis.producer.Producer` is one."""

    def send(self, records: Sequence[tuple[str, str, bytes, list[tuple[str, str]]]]) -> list[Exception | None]:
        """Send (topic, key, value, headers) records and wait for the brokers; per record None when acknowledged, else the error."""
        ...


class Relay:
    """The publishing side: a component."""

    name = "relay"

    def __init__(
        self,
        engine: Engine,
        outbox: Outbox,
        publisher: Publisher,
        metrics: ChassisMetrics,
        *,
        interval: timedelta,
        pace: timedelta,
        batch: int,
    ) -> None:
        """Publish what is in `outbox`.

        Args:
            engine: The service's database.
            outbox: Its writing side, which wakes the relay.
            publisher: Where messages go.
            metrics: Where they are counted.
            interval: How often the table is read when nothing wakes the relay.
            pace: Least time between two readings while there is something to publish.
            batch: Most rows in one reading.
        """
        self._engine = engine
        self._outbox = outbox
        self._publisher = publisher
        self._metrics = metrics
        self._interval = interval
        self._pace = Pace(pace)
        self._batch = batch
        self._table = outbox.table.fullname
        self._select = text(f"""
            SELECT seq, id, aggregatetype, aggregateid, type, payload, headers, create_time, attempts FROM {self._table} AS o
            WHERE NOT EXISTS (
                SELECT FROM {self._table} AS h WHERE h.aggregateid = o.aggregateid AND h.retry_time > :now AND h.seq <= o.seq
            )
            ORDER BY seq LIMIT :batch
        """)  # noqa: S608 - the table's name is ours
        self._delete = text(f"DELETE FROM {self._table} WHERE seq = ANY(:seqs)")  # noqa: S608 - the same
        self._brokers_answer = True

    def run(self, stop: threading.Event) -> None:
        """Publish until `stop` is set, then once more what is there."""
        while not stop.is_set():
            try:
                self._lead(stop)
            except (DBAPIError, PoolTimeout) as error:
                log.warning("relay_lost_database", error=type(error).__name__)
                stop.wait(1)
            finally:
                self._metrics.relay_active.set(0)

    def _lead(self, stop: threading.Event) -> None:
        """Hold the lock and publish; return when the lock is another's or when told to stop."""
        with closing(self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")) as conn:
            if not conn.scalar(text("SELECT pg_try_advisory_lock(hashtext(:name))"), {"name": self._table}):
                stop.wait(1)
                return
            try:
                self._metrics.relay_active.set(1)
                while not stop.is_set():
                    self._pace.wait(stop)
                    if self.publish_batch(conn) == 0:
                        self._outbox.wait(self._interval)
                # Brokers that were away a moment ago would cost the time that is left for stopping; the rows stay for the next process.
                if self._brokers_answer:
                    self.publish_batch(conn)
            finally:
                # With the connection the lock is gone too.
                if not conn.invalidated:
                    conn.execute(text("SELECT pg_advisory_unlock_all()"))

    def publish_batch(self, conn: Connection) -> int:
        """Publish one batch; returns how many rows the brokers acknowledged."""
        rows = conn.execute(self._select, {"now": datetime.now(UTC), "batch": self._batch}).all()
        self._metrics.outbox_oldest_seconds.set((datetime.now(UTC) - rows[0].create_time).total_seconds() if rows else 0)
        acknowledged: list[Any] = []
        failed: list[tuple[Any, Exception]] = []
        for wave in _waves(rows):
            held_back = {row.aggregateid for row, _ in failed}
            for row, error in self._publish_wave([row for row in wave if row.aggregateid not in held_back]):
                if error is None:
                    acknowledged.append(row)
                else:
                    failed.append((row, error))
        failpoint.reach("relay.before_mark")
        if acknowledged:
            conn.execute(self._delete, {"seqs": [row.seq for row in acknowledged]})
        for topic, count in Counter(row.aggregatetype for row in acknowledged).items():
            self._metrics.published.labels(topic).inc(count)
        for row, error in failed:
            self._hold_back(conn, row, error)
        return len(acknowledged)

    def _publish_wave(self, rows: Sequence[Any]) -> list[tuple[Any, Exception | None]]:
        """Send a wave; returns each row with why the brokers did not acknowledge it, if they did not."""
        if not rows:  # Nothing sent says nothing of the brokers.
            return []
        outcomes = self._publisher.send([(row.aggregatetype, row.aggregateid, row.payload, row.headers) for row in rows])
        self._brokers_answer = all(error is None or isinstance(error, Rejected) for error in outcomes)
        return list(zip(rows, outcomes, strict=True))

    def _hold_back(self, conn: Connection, row: Any, error: Exception) -> None:  # noqa: ANN401 - a row
        """Keep a row that was not acknowledged; one that the brokers reject waits longer each time."""
        self._metrics.publish_failures.labels(type(error).__name__).inc()
        if not isinstance(error, Rejected):
            return
        pause = min(_BACK_OFF * 2 ** min(row.attempts, 20), _LONGEST_BACK_OFF)
        log.error("message_rejected", topic=row.aggregatetype, message_id=row.id, error=str(error), retry_in_seconds=pause.total_seconds())
        conn.execute(
            text(f"UPDATE {self._table} SET attempts = attempts + 1, retry_time = :retry, last_error = :error WHERE seq = :seq"),  # noqa: S608
            {"retry": datetime.now(UTC) + pause, "error": str(error)[:500], "seq": row.seq},
        )


def _waves(rows: Sequence[Any]) -> list[list[Any]]:
    """Split rows into waves: a key's row goes with its row before if both are of one type on topics of their own, else one wave later."""
    waves: list[list[Any]] = []
    latest: dict[str, tuple[int, str, set[str]]] = {}
    for row in rows:
        n, kind, topics = latest.get(row.aggregateid, (-1, "", set()))
        if row.type != kind or row.aggregatetype in topics:
            n, topics = n + 1, set()
        latest[row.aggregateid] = (n, row.type, {*topics, row.aggregatetype})
        if n == len(waves):
            waves.append([])
        waves[n].append(row)
    return waves
