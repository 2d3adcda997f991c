"""PostgreSQL: dispatches and the dispatcher's unit of work."""

from __future__ import annotations

import copy
from collections import defaultdict
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from chassis import trace
from chassis.bulk import bulk_insert, bulk_update
from chassis.message import RetryLater
from chassis.sql import SqlUnitOfWork
from chassis.transient import UNIQUE_VIOLATION, sqlstate_of
from services.dispatcher.adapters.history import Experience, write_history
from services.dispatcher.adapters.requests import SqlRequests
from services.dispatcher.adapters.rows import (
    DISPATCH_COLUMNS,
    TICKET_COLUMNS,
    changed_columns,
    decisions_of,
    dispatch_of,
    dispatch_row,
    participant_rows,
)
from services.dispatcher.adapters.tables import SCHEMA, dispatch_table, participant_table, ticket_table
from services.dispatcher.domain.dispatch import Dispatch

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from sqlalchemy import Connection, Engine, Row

    from chassis.message import OutMessage
    from chassis.outbox import Outbox
    from services.dispatcher.adapters.events import Announcer
    from services.dispatcher.domain.events import Event
    from services.dispatcher.domain.values import ClassCode, DecisionRecord, KeepCount, TicketId, UnitCode
    from services.dispatcher.telemetry import DispatcherMetrics


# Locks are taken in the order of ids by every transaction, so that two of them never wait for each other.
_LOCK = text(f"""
    SELECT {DISPATCH_COLUMNS}, {TICKET_COLUMNS}
    FROM unnest(CAST(:ids AS text[]), CAST(:units AS text[])) AS asked (ticket_id, unit)
    JOIN {SCHEMA}.dispatch AS d ON d.ticket_id = asked.ticket_id LEFT JOIN {SCHEMA}.ticket AS t ON t.ticket_id = d.ticket_id
    WHERE asked.unit IS NULL OR d.leads ? asked.unit OR d.assignment -> 'co_handlers' ? asked.unit
    ORDER BY d.ticket_id FOR UPDATE OF d
""")  # noqa: S608 - names of columns, no values

_DUE = text(f"""
    SELECT {DISPATCH_COLUMNS}, {TICKET_COLUMNS} FROM {SCHEMA}.dispatch AS d JOIN {SCHEMA}.ticket AS t USING (ticket_id)
    WHERE d.next_action_time <= :now AND d.state IN ('PENDING', 'AWAITING_TRIAGE')
      AND d.ticket_id <> ALL(CAST(:without AS text[])) AND d.ticket_id = coalesce(:only, d.ticket_id)
    ORDER BY d.next_action_time LIMIT :size FOR UPDATE OF d SKIP LOCKED
""")  # noqa: S608 - names of columns, no values

_DUE_IDS = text(f"""
    SELECT ticket_id FROM {SCHEMA}.dispatch JOIN {SCHEMA}.ticket USING (ticket_id)
    WHERE next_action_time <= :now AND state IN ('PENDING', 'AWAITING_TRIAGE') AND ticket_id <> ALL(CAST(:without AS text[]))
    ORDER BY next_action_time LIMIT :size
""")  # noqa: S608 - names, no values


class SqlDispatches:
    """Dispatches of one transaction. What was loaded stays at hand, so that a batch reads and writes with few statements."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._held: dict[TicketId, Dispatch] = {}
        self._loaded: dict[TicketId, Dispatch] = {}
        self._touched: set[TicketId] = set()
        self._absent: set[tuple[TicketId, UnitCode | None]] = set()
        self._traces: dict[TicketId, str | None] = {}

    def lock(self, ticket_ids: Iterable[TicketId], of_units: Iterable[tuple[TicketId, UnitCode]]) -> None:
        """Load and lock many by one statement: `ticket_ids` whosever they are, `of_units` only if the unit has or had a part in them."""
        asked = {*((ticket_id, None) for ticket_id in ticket_ids), *of_units}
        asked = {(ticket_id, unit) for ticket_id, unit in asked if ticket_id not in self._held}
        rows = self._conn.execute(_LOCK, {"ids": [ticket_id for ticket_id, _ in asked], "units": [unit for _, unit in asked]})
        for row in rows:
            if row.ticket_id not in self._held:
                self._hold(row)
        self._absent |= {(ticket_id, unit) for ticket_id, unit in asked if ticket_id not in self._held}

    def get(self, ticket_id: TicketId) -> Dispatch | None:
        """Return the dispatch of a ticket, locked."""
        if ticket_id not in self._held and (ticket_id, None) not in self._absent:
            self.lock([ticket_id], [])
        self._touched.add(ticket_id)
        return self._held.get(ticket_id)

    def of_unit(self, ticket_id: TicketId, unit: UnitCode) -> Dispatch | None:
        """Return the dispatch of a ticket, locked, if the unit has or had a part in it."""
        if ticket_id not in self._held and (ticket_id, unit) not in self._absent:
            self.lock([], [(ticket_id, unit)])
        self._touched.add(ticket_id)
        dispatch = self._held.get(ticket_id)
        return dispatch if dispatch is not None and dispatch.concerns(unit) else None

    def add(self, dispatch: Dispatch) -> None:
        """Add the first that is heard of a ticket."""
        self._held[dispatch.ticket_id] = dispatch
        self._touched.add(dispatch.ticket_id)
        self._traces[dispatch.ticket_id] = trace.current()

    def due(self, now: datetime, size: int, *, without: Collection[TicketId] = (), only: TicketId | None = None) -> Sequence[Dispatch]:
        """Return the dispatches that the dispatch timer must act on, locked. Rows that another transaction has locked are left out.

        Raises:
            Exception: A row cannot be read. The timer then acts on each ticket alone, and pushes this one back.
        """
        rows = self._conn.execute(_DUE, {"now": now, "size": size, "without": list(without), "only": only})
        due = [self._hold(row) for row in rows]
        self._touched |= {dispatch.ticket_id for dispatch in due}
        return due

    def due_ids(self, now: datetime, size: int, without: Collection[TicketId]) -> Sequence[TicketId]:
        """Return ids of the tickets that the minute timer has to act on, without locking or reading the rows."""
        return self._conn.scalars(_DUE_IDS, {"now": now, "size": size, "without": list(without)}).all()

    def decision_of(self, dispatch: Dispatch) -> DecisionRecord | None:
        """Return the decision in force."""
        if dispatch.decision is not None or dispatch.decision_id is None:
            return dispatch.decision
        return decisions_of(self._conn, [dispatch.decision_id]).get(dispatch.decision_id)

    def pull_events(self) -> list[tuple[TicketId, Event]]:
        """Return what happened since the last call, each dispatch's in order."""
        touched, self._touched = self._touched & self._held.keys(), set()
        return [(ticket_id, event) for ticket_id in touched for event in self._held[ticket_id].pull_events()]

    def trace_of(self, ticket_id: TicketId) -> str | None:
        """Return the trace that a ticket's submission belongs to."""
        return self._traces.get(ticket_id)

    def flush(self) -> None:
        """Write what changed.

        Raises:
            RetryLater: Another replica heard of one of the tickets first, at the same moment.
        """
        changed = [dispatch for ticket_id, dispatch in sorted(self._held.items()) if dispatch != self._loaded.get(ticket_id)]
        new = [dispatch for dispatch in changed if dispatch.ticket_id not in self._loaded]
        known = [dispatch for dispatch in changed if dispatch.ticket_id in self._loaded]
        try:
            bulk_insert(self._conn, dispatch_table, [dispatch_row(dispatch) for dispatch in new])
        except IntegrityError as error:
            if sqlstate_of(error) != UNIQUE_VIOLATION:
                raise
            raise RetryLater("another replica heard of a ticket at the same moment") from error
        self._update(known)
        submitted = [dispatch for dispatch in changed if dispatch.ticket is not None and self._before(dispatch).ticket is None]
        bulk_insert(self._conn, ticket_table, [self._ticket_row(dispatch) for dispatch in submitted])
        self._write_participants(changed)

    def _update(self, dispatches: Sequence[Dispatch]) -> None:
        """Write the columns that changed: most news change one, and a row holds much."""
        alike: defaultdict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
        for dispatch in dispatches:
            changed = changed_columns(self._loaded[dispatch.ticket_id], dispatch)
            alike[tuple(changed)].append(changed)
        for rows in alike.values():
            bulk_update(self._conn, dispatch_table, rows)

    def _write_participants(self, changed: Sequence[Dispatch]) -> None:
        before = {dispatch.ticket_id: participant_rows(self._before(dispatch)) for dispatch in changed}
        after = {dispatch.ticket_id: participant_rows(dispatch) for dispatch in changed}
        moved = [ticket_id for ticket_id, rows in after.items() if rows != before[ticket_id]]
        outdated = [ticket_id for ticket_id in moved if before[ticket_id]]
        if outdated:
            self._conn.execute(text(f"DELETE FROM {SCHEMA}.participant WHERE ticket_id = ANY(:ids)"), {"ids": outdated})  # noqa: S608
        bulk_insert(self._conn, participant_table, [row for ticket_id in moved for row in after[ticket_id]])

    def _before(self, dispatch: Dispatch) -> Dispatch:
        return self._loaded.get(dispatch.ticket_id) or Dispatch(ticket_id=dispatch.ticket_id)

    def _hold(self, row: Row[Any]) -> Dispatch:
        dispatch = dispatch_of(row)
        self._held[dispatch.ticket_id] = dispatch
        self._loaded[dispatch.ticket_id] = copy.copy(dispatch)
        self._traces[dispatch.ticket_id] = row.traceparent
        return dispatch

    def _ticket_row(self, dispatch: Dispatch) -> dict[str, Any]:
        ticket = dispatch.ticket
        values = {column.name: getattr(ticket, column.name) for column in ticket_table.columns if column.name != "traceparent"}
        return {**values, "traceparent": self._traces.get(dispatch.ticket_id)}


class DispatcherUnitOfWork(SqlUnitOfWork):
    """One transaction of the dispatcher. What happens to dispatches becomes messages and rows of history on its own."""

    def __init__(self, engine: Engine, outbox: Outbox, announcer: Announcer, experience: Experience, metrics: DispatcherMetrics) -> None:
        super().__init__(engine, outbox)
        self._announcer = announcer
        self._experience = experience
        self._metrics = metrics
        self._happened: list[Event] = []
        self._refused: list[str] = []
        self._counts: Mapping[tuple[UnitCode, ClassCode], KeepCount] | None = None
        self.dispatches: SqlDispatches
        self.requests: SqlRequests

    def __enter__(self) -> Self:
        """Open the transaction."""
        super().__enter__()
        self._happened, self._refused, self._counts = [], [], None
        self.dispatches = SqlDispatches(self.connection)
        self.requests = SqlRequests(self.connection)
        return self

    def experience(self) -> Mapping[tuple[UnitCode, ClassCode], KeepCount]:
        """Return what units kept and returned so far; the same all through the transaction."""
        if self._counts is None:
            self._counts = self._experience.counts(self.connection)
        return self._counts

    def settle(self) -> None:
        """Turn what happened so far into messages, inside the trace under way; without one, inside that of each ticket's submission."""
        for ticket_id, event in self.dispatches.pull_events():
            self._happened.append(event)
            with self._trace_of(ticket_id):
                for message in self._announcer.messages(event):
                    self.publish(message)

    def refuse_receipt(self, reason: str, answer: OutMessage) -> None:
        """Answer a unit's receipt that is refused."""
        self._refused.append(reason)
        self.publish(answer)

    def flush(self) -> None:
        """Write dispatches, their history and their messages."""
        self.settle()
        self.dispatches.flush()
        write_history(self.connection, self._happened)
        super().flush()

    def commit(self) -> None:
        """Write everything, commit, count what happened, and wake the relay."""
        super().commit()
        happened, self._happened = self._happened, []
        refused, self._refused = self._refused, []
        for event in happened:
            self._metrics.count(event)
        for reason in refused:
            self._metrics.refused_receipts.labels(reason).inc()

    def _trace_of(self, ticket_id: TicketId) -> AbstractContextManager[None]:
        return nullcontext() if trace.current() else trace.continue_from(self.dispatches.trace_of(ticket_id))
