"""Relay: publishes the rows of an outbox, each key's in order, at least once.

    release what is due ► read ready rows ► send wave by wave ► delete what was acknowledged ► probe topics in backoff

A wave holds one row of each key, or several rows of the same type on different topics: one event for several readers. The next wave starts
when all outcomes of the previous one are known. So each topic receives a key's rows in the order of writing, and a key's next event follows
on any topic only after the previous one.

A row that fails waits, and the later rows of its key wait for it, except the same news on other topics. A partition on which nothing was
acknowledged backs off as a whole: its rows wait, and one of them is sent as a probe when the pause is over. Where the publisher does not
know the partitions of a topic, the topic backs off as one. Waiting rows have a
`retry_time`, and indexes keep them apart from the ready ones: however many rows wait, a reading looks at the first ready ones only.

    ready: NULL ──failed──► waiting: an instant ──due──► ready
       └──partition or earlier row waits──► waiting: `PARKED` ──that is over──► ready

If no broker answers at all, no row and no partition is to blame: nothing is marked, and one row is tried at each interval.

One relay at a time works for a service, holding an advisory lock on a connection of its own. When that connection breaks a second relay
may start while the first still sends. Both send a key's rows in order, so that the first copies are in order, and the inbox drops
the second copies. A key with a record of unknown outcome also waits until a second copy is acknowledged.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import text

from chassis import failpoint
from chassis.backoff import Backoffs, pause_after
from chassis.outbox import WAITS
from chassis.pace import Pace
from chassis.publisher import DEADLINE, BrokersAway, Rejected, reason_of
from chassis.transient import is_transient
from chassis.watchdog import Progress

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Container, Iterable, Sequence

    from sqlalchemy import Connection, Engine, TextClause

    from chassis.metrics import ChassisMetrics
    from chassis.outbox import Outbox
    from chassis.publisher import Publisher
    from chassis.watchdog import Watch

log = structlog.get_logger()

PARKED = datetime(9999, 1, 1, tzinfo=UTC)
"""`retry_time` of a row that waits for a partition or for an earlier row of its key, not for an instant."""
_STEP_LIMIT = timedelta(seconds=20)
"""A send has a deadline of 4 s, a statement one of 10 s: a step that takes longer than their sum counts as stalled."""

_FIRST_PAUSE = timedelta(milliseconds=250)
_LONGEST_PAUSE = timedelta(seconds=4)
"""Of a partition, and of a row that may be taken when it is sent again: what is back is used again within 4 s."""
_FIRST_REJECTED_PAUSE = timedelta(seconds=1)
_LONGEST_REJECTED_PAUSE = timedelta(seconds=15)
_PROBE_DEADLINE = timedelta(seconds=2)
_PROBE_CANDIDATES = 20
_LOOKED_AT_ONCE = 5000
_RELEASED_AT_ONCE = 5000
_SWEPT_AT_ONCE = 2000
_READ_BYTES = 8 * 1024 * 1024
"""Payloads of one reading: with dead letters of 900 KiB a full batch would exceed the memory and the producer's buffer."""
_SWEEP_INTERVAL = timedelta(milliseconds=250)


class Relay:
    """The publishing side of an outbox: a component."""

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
        watch: Watch = Progress,
    ) -> None:
        """Publish what is in `outbox`.

        Args:
            engine: The service's database.
            outbox: Writing side of the outbox, which wakes the relay.
            publisher: Sends the messages.
            metrics: Counts the messages.
            interval: How often the table is read when nothing wakes the relay.
            pace: Least time between two readings while there is something to publish.
            batch: Most rows in one reading.
            watch: Returns the progress of the relay's steps; unwatched by default.
        """
        self._engine = engine
        self._outbox = outbox
        self._publisher = publisher
        self._metrics = metrics
        self._interval = interval
        self._pace = Pace(pace)
        self._batch = batch
        self._progress = watch(self.name, _STEP_LIMIT)
        self._table = outbox.table.fullname
        self._statements = _Statements(self._table)
        self._lanes = Backoffs(_FIRST_PAUSE, _LONGEST_PAUSE)
        self._topic_of: dict[str, str] = {}
        self._next_probe = 0.0
        self._brokers_answer = True
        self._unmarked: list[int] = []
        self._some_wait = True
        self._sweep = _Sweep()

    def run(self, stop: threading.Event) -> None:
        """Publish until `stop` is set, then publish the remaining ready rows once.

        Raises:
            DBAPIError: A database error that is not transient.
        """
        while not stop.is_set():
            try:
                self._lead(stop)
            except Exception as error:
                if not is_transient(error):
                    raise
                log.warning("relay_lost_database", error=type(error).__name__)
                stop.wait(1)
            finally:
                self._metrics.relay_active.set(0)
                for lane in self._lanes.names():
                    self._use_again(lane)

    def _lead(self, stop: threading.Event) -> None:
        """Hold the lock and publish; return when another relay has the lock or `stop` is set."""
        with self._progress.round():
            conn = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        with closing(conn):
            try:
                with self._progress.round():
                    leads = conn.scalar(text("SELECT pg_try_advisory_lock(hashtext(:name))"), {"name": self._table})
                if not leads:
                    stop.wait(1)
                    return
                self._metrics.relay_active.set(1)
                self._some_wait, self._sweep = True, _Sweep()
                while not stop.is_set():
                    self._pace.wait(stop)
                    if self.publish_batch(conn) == 0:
                        self._outbox.wait(self._interval)
                # Brokers that did not answer just now would use up the grace period; the rows stay for the next process.
                if self._brokers_answer:
                    self.publish_batch(conn)
                conn.execute(text("SELECT pg_advisory_unlock_all()"))
            except BaseException:
                # The server may be read-only now, and a new connection may reach another server. Closing the connection releases the lock.
                conn.invalidate()
                raise

    def publish_batch(self, conn: Connection) -> int:
        """Publish one batch; return how many rows were acknowledged or became ready, 0 if there is nothing to do at once."""
        with self._progress.round():
            self._mark_acknowledged(conn)
            released = self._release(conn)
            rows = self._read(conn)
            self._metrics.outbox_oldest_seconds.set((datetime.now(UTC) - rows[0].create_time).total_seconds() if rows else 0)
            published = self._publish(conn, rows, DEADLINE)
            # Without a broker one row is tried: a probe if none is ready.
            probes = self._choose_probes(conn) if self._brokers_answer or not rows else []
            if probes:
                began = time.monotonic()
                published += self._publish(conn, probes, _PROBE_DEADLINE)
                # However many partitions are in backoff, at most half of the time goes into probes.
                self._next_probe = 2 * time.monotonic() - began
        return published + released

    def _read(self, conn: Connection) -> list[Any]:
        """Return the first ready rows that may go now, in order; those of them that have to wait are parked on the way."""
        if self._some_wait or self._lanes.names():
            rows = self._read_past_waiting(conn)
        else:
            rows = list(conn.execute(self._statements.read, {"most": self._batch}).all())
        self._progress.step()
        if self._brokers_answer or not rows:
            return rows
        # A random first row of a key: the tried row must not always be on a topic that does not answer.
        return [random.choice(_waves(rows)[0])]  # noqa: S311 - no secret

    def _read_past_waiting(self, conn: Connection) -> list[Any]:
        """Park the ready rows that have to wait, without reading their payload, until enough sendable rows are found."""
        seqs: list[int] = []
        after, most = 0, self._batch
        failing = set(self._topic_of.values())

        def lane_of(row: Any) -> str:  # noqa: ANN401 - a row
            return self._lane(row) if row.aggregatetype in failing else str(row.aggregatetype)

        while len(seqs) < self._batch:
            ready = conn.execute(self._statements.look, {"after": after, "most": most}).all()
            if not ready:
                break
            free, parked = _split(ready, self._lanes, self._of_keys(conn, self._statements.waiting_of_keys, ready), lane_of)
            seqs += [row.seq for row in free]
            self._park(conn, parked)
            self._progress.step()
            if len(ready) < most:
                break
            after, most = ready[-1].seq, min(4 * most, _LOOKED_AT_ONCE)
        return list(conn.execute(self._statements.read_some, {"seqs": seqs[: self._batch]}).all()) if seqs else []

    def _of_keys(self, conn: Connection, statement: TextClause, rows: Sequence[Any]) -> Sequence[Any]:
        """Return the first row of each type and topic of the keys of some rows, among the waiting or the ready rows."""
        return conn.execute(statement, {"keys": list({row.aggregateid for row in rows})}).all()

    def _publish(self, conn: Connection, rows: Sequence[Any], deadline: timedelta) -> int:
        """Send rows wave by wave and store the outcomes in the table; return how many were acknowledged."""
        acknowledged: list[Any] = []
        failed: list[tuple[Any, Exception]] = []
        for wave in _waves(rows):
            held_back = {row.aggregateid for row, _ in failed}
            sent = [row for row in wave if row.aggregateid not in held_back]
            outcomes = self._send(sent, deadline)
            acknowledged += [row for row, error in outcomes if error is None]
            failed += [(row, error) for row, error in outcomes if error is not None]
            if any(error is not None and not isinstance(error, Rejected) for _, error in outcomes):
                # The same cause may fail the next wave too, and use up its deadline. The rest is sent after the next read.
                break
        failpoint.reach("relay.before_mark")
        self._settle(conn, acknowledged, failed)
        return len(acknowledged)

    def _send(self, rows: Sequence[Any], deadline: timedelta) -> list[tuple[Any, Exception | None]]:
        """Send a wave; returns each row with the reason if it was not acknowledged."""
        if not rows:
            return []
        records = [(row.aggregatetype, row.aggregateid, row.payload, row.headers) for row in rows]
        outcomes = list(zip(rows, self._publisher.send(records, within=deadline), strict=True))
        self._progress.step()
        answer = not any(isinstance(error, BrokersAway) for _, error in outcomes)
        if answer != self._brokers_answer:
            self._brokers_answer = answer
            log.warning("brokers_back" if answer else "brokers_away")
        if all(error is None for _, error in outcomes) and not self._lanes.names():
            return outcomes
        # A partition that rejects a record for what it is takes others.
        working = {self._lane(row) for row, error in outcomes if error is None or isinstance(error, Rejected)}
        failing = {lane: (row, error) for row, error in outcomes if error is not None and (lane := self._lane(row)) not in working}
        for lane in working:
            self._use_again(lane)
        for lane, (row, error) in failing.items():
            self._back_off(lane, row.aggregatetype, error)
        return outcomes

    def _lane(self, row: Any) -> str:  # noqa: ANN401 - a row
        """Return the name of what backs off as one: the row's partition, or its topic if the partition is not known."""
        return self._publisher.partition_of(row.aggregatetype, row.aggregateid)

    def _back_off(self, lane: str, topic: str, error: Exception) -> None:
        """Let a partition back off on which nothing of a wave was acknowledged."""
        if isinstance(error, BrokersAway):
            self._lanes.postpone(lane)
            return
        pause = self._lanes.fail(lane)
        self._topic_of[lane] = topic
        log.warning("topic_backoff", topic=topic, partition=lane, error=reason_of(error), retry_in_seconds=pause.total_seconds())
        self._metrics.topic_backoff.labels(topic).set(1)

    def _use_again(self, lane: str) -> None:
        if self._lanes.succeed(lane):
            topic = self._topic_of.pop(lane)
            log.info("topic_recovered", topic=topic, partition=lane)
            self._metrics.topic_backoff.labels(topic).set(topic in self._topic_of.values())
            self._some_wait, self._sweep = True, _Sweep()

    def _choose_probes(self, conn: Connection) -> list[Any]:
        """Return one row of each partition whose pause is over; a partition without a row to send is used again without a probe."""
        chosen: list[int] = []
        parked: dict[str, Sequence[Any]] = {}
        for lane in self._lanes.due() if time.monotonic() >= self._next_probe else ():
            topic = self._topic_of[lane]
            if topic not in parked:
                parked[topic] = conn.execute(self._statements.read_topic, {"parked": PARKED, "topic": topic, "most": _SWEPT_AT_ONCE}).all()
            # Those that were tried least: if one key is in trouble, or the partitions are not known, the others must not wait for it.
            free = self._free(conn, self._statements.waiting_of_keys, [row for row in parked[topic] if self._lane(row) == lane])
            candidates = sorted(free, key=lambda row: row.attempts)
            candidates = self._free(conn, self._statements.ready_of_keys, candidates[:_PROBE_CANDIDATES])
            if candidates:
                least = min(row.attempts for row in candidates)
                chosen.append(random.choice([row for row in candidates if row.attempts == least]).seq)  # noqa: S311 - no secret
            else:
                self._use_again(lane)
        return list(conn.execute(self._statements.read_some, {"seqs": chosen}).all()) if chosen else []

    def _free(self, conn: Connection, statement: TextClause, rows: Sequence[Any]) -> list[Any]:
        """Return the rows that wait for no earlier row; `statement` selects the earlier waiting or ready rows."""
        if not rows:
            return []
        free, _ = _split(rows, (), self._of_keys(conn, statement, rows))
        return free

    def _settle(self, conn: Connection, acknowledged: Sequence[Any], failed: Sequence[tuple[Any, Exception]]) -> None:
        """Delete acknowledged rows and release the rows behind them; mark the others as waiting."""
        self._unmarked += [row.seq for row in acknowledged]
        self._mark_acknowledged(conn)
        for topic, count in Counter(row.aggregatetype for row in acknowledged).items():
            self._metrics.published.labels(topic).inc(count)
        if acknowledged and self._some_wait:
            conn.execute(self._statements.release_keys, {"keys": [row.aggregateid for row in acknowledged], "parked": PARKED})
        for row, error in failed:
            self._metrics.publish_failures.labels(row.aggregatetype, reason_of(error)).inc()
        self._hold_back(conn, [(row, error) for row, error in failed if not isinstance(error, BrokersAway)])

    def _mark_acknowledged(self, conn: Connection) -> None:
        """Delete acknowledged rows. After a failure, delete them first when the database recovers, so that they are not sent again."""
        if self._unmarked:
            conn.execute(self._statements.delete, {"seqs": self._unmarked})
            self._unmarked = []
            self._progress.step()

    def _hold_back(self, conn: Connection, failed: Sequence[tuple[Any, Exception]]) -> None:
        """Let rows wait that were not acknowledged, longer each time; those of a partition in backoff wait for it."""
        if not failed:
            return
        now = datetime.now(UTC)
        retries = []
        for row, error in failed:
            if isinstance(error, Rejected):
                pause = pause_after(row.attempts, _FIRST_REJECTED_PAUSE, _LONGEST_REJECTED_PAUSE)
                log.error(
                    "message_rejected",
                    topic=row.aggregatetype,
                    message_id=row.id,
                    error=str(error),
                    retry_in_seconds=pause.total_seconds(),
                )
            else:
                pause = pause_after(row.attempts, _FIRST_PAUSE, _LONGEST_PAUSE)
            retries.append(PARKED if self._lane(row) in self._lanes else now + pause)
        self._some_wait = True
        conn.execute(
            self._statements.hold_back,
            {
                "seqs": [row.seq for row, _ in failed],
                "retries": retries,
                "errors": [str(error)[:500] for _, error in failed],
            },
        )

    def _park(self, conn: Connection, rows: Sequence[Any]) -> None:
        if rows:
            self._some_wait = True
            conn.execute(self._statements.park, {"seqs": [row.seq for row in rows], "parked": PARKED})

    def _release(self, conn: Connection) -> int:
        """Make due rows ready, and some parked rows that have nothing left to wait for; return the number of the latter."""
        if not self._some_wait:
            return 0
        conn.execute(self._statements.release_due, {"now": datetime.now(UTC), "most": _RELEASED_AT_ONCE})
        if not self._sweep.is_due():
            return 0
        parked = conn.execute(self._statements.read_parked, {"after": self._sweep.after, "parked": PARKED, "most": _SWEPT_AT_ONCE}).all()
        free = [row.seq for row in self._free(conn, self._statements.waiting_of_keys, parked) if self._lane(row) not in self._lanes]
        if free:
            conn.execute(self._statements.release, {"seqs": free})
        if not parked and self._sweep.after == 0:
            self._some_wait = bool(conn.scalar(self._statements.some_wait))
        self._sweep.go_on(after=parked[-1].seq if len(parked) == _SWEPT_AT_ONCE else 0)
        self._progress.step()
        return len(free)


class _Sweep:
    """Position of the sweep over the parked rows: the first sweep runs without pauses, later ones at intervals."""

    def __init__(self) -> None:
        self.after = 0
        self._due = 0.0
        self._is_first = True

    def is_due(self) -> bool:
        return time.monotonic() >= self._due

    def go_on(self, *, after: int) -> None:
        self.after = after
        self._is_first = self._is_first and after > 0
        self._due = 0.0 if self._is_first else time.monotonic() + _SWEEP_INTERVAL.total_seconds()


class _Statements:
    """The relay's statements for one table.

    `outbox_order` serves the reads of ready, due and parked rows, and `outbox_waiting_key` the lookups by key. The statements leave the
    planner no other choice: after fast growth of the queue its statistics are still those of an empty table.
    """

    def __init__(self, table: str) -> None:
        columns = "seq, id, aggregatetype, aggregateid, type, payload, headers, create_time, attempts"
        ready = f"SELECT {columns} FROM {table} WHERE retry_time IS NULL ORDER BY retry_time, seq LIMIT :most"  # noqa: S608 - the table's name is ours, here and below
        self.read = text(_first_bytes(columns, ready))
        self.look = text(f"""
            SELECT seq, aggregatetype, aggregateid, type FROM {table}
            WHERE retry_time IS NULL AND seq > :after ORDER BY retry_time, seq LIMIT :most
        """)  # noqa: S608
        self.read_parked = text(f"""
            SELECT seq, aggregatetype, aggregateid, type FROM {table}
            WHERE retry_time = :parked AND seq > :after ORDER BY retry_time, seq LIMIT :most
        """)  # noqa: S608
        self.read_topic = text(f"""
            SELECT seq, aggregatetype, aggregateid, type, attempts FROM {table}
            WHERE retry_time = :parked AND aggregatetype = :topic ORDER BY retry_time, seq LIMIT :most
        """)  # noqa: S608
        self.read_some = text(_first_bytes(columns, f"SELECT {columns} FROM {table} WHERE seq = ANY(:seqs)"))  # noqa: S608
        self.waiting_of_keys = text(f"""
            SELECT k.key AS aggregateid, w.type, w.aggregatetype, w.seq FROM unnest(CAST(:keys AS text[])) AS k (key)
            CROSS JOIN LATERAL (
                SELECT type, aggregatetype, min(seq) AS seq FROM {table} WHERE aggregateid = k.key AND {WAITS} GROUP BY type, aggregatetype
            ) AS w
        """)  # noqa: S608
        self.ready_of_keys = text(f"""
            SELECT aggregateid, type, aggregatetype, min(seq) AS seq FROM {table}
            WHERE retry_time IS NULL AND aggregateid = ANY(:keys) GROUP BY aggregateid, type, aggregatetype
        """)  # noqa: S608
        self.some_wait = text(f"SELECT EXISTS (SELECT FROM {table} WHERE retry_time IS NOT NULL)")  # noqa: S608
        self.delete = text(f"DELETE FROM {table} WHERE seq = ANY(:seqs)")  # noqa: S608
        self.park = text(f"UPDATE {table} SET retry_time = :parked WHERE seq = ANY(:seqs)")  # noqa: S608
        self.hold_back = text(f"""
            UPDATE {table} AS o SET attempts = attempts + 1, retry_time = f.retry, last_error = f.error
            FROM unnest(CAST(:seqs AS bigint[]), CAST(:retries AS timestamptz[]), CAST(:errors AS text[])) AS f (seq, retry, error)
            WHERE o.seq = f.seq
        """)  # noqa: S608
        self.release = text(f"UPDATE {table} SET retry_time = NULL WHERE seq = ANY(:seqs)")  # noqa: S608
        self.release_due = text(f"""
            UPDATE {table} SET retry_time = NULL
            WHERE seq = ANY(ARRAY(SELECT seq FROM {table} WHERE retry_time <= :now ORDER BY retry_time, seq LIMIT :most))
        """)  # noqa: S608
        self.release_keys = text(f"""
            UPDATE {table} SET retry_time = NULL WHERE retry_time = :parked AND seq = ANY(ARRAY(
                SELECT w.seq FROM unnest(CAST(:keys AS text[])) AS k (key)
                CROSS JOIN LATERAL (SELECT seq FROM {table} WHERE aggregateid = k.key AND {WAITS} OFFSET 0) AS w
            ))
        """)  # noqa: S608


def _first_bytes(columns: str, rows: str) -> str:
    """Return a query for the first rows of another by `seq`, up to the one whose payload passes `_READ_BYTES`.

    The length of a payload that is stored out of line is known without reading it.
    """
    return f"""
        SELECT {columns} FROM (
            SELECT r.*, sum(octet_length(payload)) OVER (ORDER BY seq) - octet_length(payload) AS bytes_before FROM ({rows}) AS r
        ) AS s WHERE bytes_before <= {_READ_BYTES} ORDER BY seq
    """  # noqa: S608


def _waits_for(row: Any, earlier: Any) -> bool:  # noqa: ANN401 - rows
    """Return whether a row has to wait for an earlier row of its key: always, except for the same event on another topic."""
    return bool(earlier.seq < row.seq and (earlier.type != row.type or earlier.aggregatetype == row.aggregatetype))


def _split(
    rows: Iterable[Any],
    lanes: Container[str],
    waiting: Iterable[Any] = (),
    lane_of: Callable[[Any], str] = lambda row: row.aggregatetype,
) -> tuple[list[Any], list[Any]]:
    """Split rows, in order, into those that may go and those that have to wait.

    Args:
        rows: Rows without a gap: of their keys, no other rows before them but those of `waiting`.
        lanes: Partitions and topics in backoff.
        waiting: Rows that wait already.
        lane_of: Gives what of `lanes` a row is on; its topic by default.
    """
    free: list[Any] = []
    parked: list[Any] = []
    of_key: dict[str, list[Any]] = defaultdict(list)
    for each in waiting:
        of_key[each.aggregateid].append(each)
    for row in rows:
        if lane_of(row) in lanes or any(_waits_for(row, each) for each in of_key.get(row.aggregateid, ())):
            of_key[row.aggregateid].append(row)
            parked.append(row)
        else:
            free.append(row)
    return free, parked


def _waves(rows: Sequence[Any]) -> list[list[Any]]:
    """Split rows into waves: a row joins the wave of its key's previous row if they are one event on two topics, else the next wave."""
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
