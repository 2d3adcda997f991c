"""PostgreSQL: the SLA service's stores, its unit of work and its reader."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Self

import structlog
from sqlalchemy import ARRAY, Column, Text, all_, any_, func, literal, or_, select, true, tuple_
from sqlalchemy.dialects.postgresql import insert

from chassis.bulk import bulk_insert, bulk_upsert
from chassis.caller import Role
from chassis.sql import SqlUnitOfWork
from chassis.stored import known
from services.sla.adapters.events import encode
from services.sla.adapters.facts_json import from_json, to_json
from services.sla.adapters.tables import calendar_activation, deadline_table, deadline_tally, ticket_clock
from services.sla.application.ports import ANY
from services.sla.domain.calendar import CalendarVersion
from services.sla.domain.deadline import Deadline, Tally, TicketDeadlines, TicketId
from services.sla.domain.facts import Cycle, UnitCode
from services.sla.domain.promise import Kind
from services.sla.domain.replay import State

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Engine, Row, Select

    from chassis.caller import Caller
    from chassis.outbox import Outbox
    from services.sla.application.ports import Chosen, DueFilter, DuePosition
    from services.sla.domain.deadline import DeadlineChanged, DeadlineKey
    from services.sla.domain.promise import Rules
    from services.sla.telemetry import SlaMetrics

log = structlog.get_logger()

_SLOTS = 16
_KINDS = frozenset(kind.value for kind in Kind)
_TALLIES = frozenset(tally.value for tally in Tally)


class SqlTickets:
    """`Tickets` in a transaction. Two transactions take rows in the order of ids, so that they cannot wait for each other."""

    def __init__(self, conn: Connection, rules: Rules) -> None:
        self._conn = conn
        self._rules = rules
        self._held: dict[TicketId, TicketDeadlines] = {}
        self._stored: dict[TicketId, dict[DeadlineKey, Deadline]] = {}
        self._put: dict[TicketId, TicketDeadlines] = {}

    def lock_many(self, ticket_ids: Collection[TicketId]) -> None:
        """See `Tickets.lock_many`."""
        wanted = sorted(set(ticket_ids) - self._held.keys())
        self._hold(self._conn.execute(_locked(wanted)).all())
        missing = [ticket_id for ticket_id in wanted if ticket_id not in self._held]
        if missing:
            # Another transaction may make the same ones: whoever comes second waits for the first, and then finds its rows.
            blank = [_ticket_row(TicketDeadlines(ticket_id), self._rules) for ticket_id in missing]
            bulk_insert(self._conn, ticket_clock, blank, on_conflict_ignore=True)
            self._hold(self._conn.execute(_locked(missing)).all())

    def get(self, ticket_id: TicketId) -> TicketDeadlines:
        """See `Tickets.get`."""
        if ticket_id not in self._held:
            self.lock_many([ticket_id])
        return self._held[ticket_id]

    def put(self, ticket: TicketDeadlines) -> None:
        """See `Tickets.put`."""
        self._put[ticket.ticket_id] = ticket

    def lock_due(self, until: datetime, size: int, *, chosen: Chosen = ANY) -> Sequence[TicketDeadlines]:
        """See `Tickets.lock_due`."""
        return self._take(_due(select(ticket_clock), until), size, chosen)

    def due_ids(self, until: datetime, size: int, chosen: Chosen) -> Sequence[TicketId]:
        """Return the ids of the tickets of `lock_due`, without locking or reading the rows."""
        return self._ids(_due(select(ticket_clock.c.ticket_id), until), size, chosen)

    def lock_computed_otherwise(self, version: CalendarVersion, size: int, *, chosen: Chosen = ANY) -> Sequence[TicketDeadlines]:
        """See `Tickets.lock_computed_otherwise`."""
        return self._take(_computed_otherwise(select(ticket_clock), version), size, chosen)

    def ids_computed_otherwise(self, version: CalendarVersion, size: int, chosen: Chosen) -> Sequence[TicketId]:
        """Return the ids of the tickets of `lock_computed_otherwise`, without locking or reading the rows."""
        return self._ids(_computed_otherwise(select(ticket_clock.c.ticket_id), version), size, chosen)

    def _take(self, statement: Select[Any], size: int, chosen: Chosen) -> Sequence[TicketDeadlines]:
        rows = self._conn.execute(_choose(statement, chosen).limit(size).with_for_update(skip_locked=True)).all()
        self._hold(rows)
        return [self._held[TicketId(row.ticket_id)] for row in rows]

    def _ids(self, statement: Select[Any], size: int, chosen: Chosen) -> Sequence[TicketId]:
        return [TicketId(ticket_id) for ticket_id in self._conn.scalars(_choose(statement, chosen).limit(size))]

    def _hold(self, rows: Sequence[Row[Any]]) -> None:
        stored = self._deadlines_of([row.ticket_id for row in rows])
        for row in rows:
            ticket_id = TicketId(row.ticket_id)
            deadlines = stored.get(ticket_id, [])
            self._stored[ticket_id] = {(each.kind, each.cycle): each for each in deadlines}
            self._held[ticket_id] = TicketDeadlines(
                ticket_id,
                facts=from_json(row.facts, row.portal),
                deadlines=deadlines,
                calendar_version=CalendarVersion(row.calendar_version),
            )

    def _deadlines_of(self, ticket_ids: Sequence[str]) -> Mapping[TicketId, list[Deadline]]:
        found: dict[TicketId, list[Deadline]] = {}
        if ticket_ids:
            of_tickets = _is_among(deadline_table.c.ticket_id, ticket_ids)
            for row in self._conn.execute(select(deadline_table).where(of_tickets, _is_of_known_kind())):
                found.setdefault(TicketId(row.ticket_id), []).append(_deadline(row))
        return found

    def flush(self) -> list[tuple[Deadline | None, Deadline]]:
        """Write what was put; returns every deadline that changed, as it was before and as it is now."""
        tickets = [self._put[ticket_id] for ticket_id in sorted(self._put)]
        changed = [
            (before, deadline)
            for ticket in tickets
            for deadline in ticket.deadlines
            if (before := self._stored[ticket.ticket_id].get((deadline.kind, deadline.cycle))) != deadline
        ]
        bulk_upsert(self._conn, ticket_clock, [_ticket_row(ticket, self._rules) for ticket in tickets])
        bulk_upsert(self._conn, deadline_table, [_deadline_row(deadline) for _, deadline in changed])
        self._count(changed)
        self._put.clear()
        return changed

    def _count(self, changed: Iterable[tuple[Deadline | None, Deadline]]) -> None:
        sums: Counter[tuple[Kind, Tally]] = Counter()
        for before, now in changed:
            if before is not None and before.tally is not None:
                sums[before.kind, before.tally] -= 1
            if now.tally is not None:
                sums[now.kind, now.tally] += 1
        rows = [
            {"kind": kind.value, "tally": tally.value, "deadlines": sums[kind, tally]} for kind, tally in sorted(sums) if sums[kind, tally]
        ]
        if rows:
            slot = func.mod(func.pg_backend_pid(), _SLOTS)
            statement = insert(deadline_tally).values([{"slot": slot, **row} for row in rows])
            total = deadline_tally.c.deadlines + statement.excluded.deadlines
            self._conn.execute(statement.on_conflict_do_update(index_elements=["slot", "kind", "tally"], set_={"deadlines": total}))


class SqlCalendars:
    """`Calendars` in a transaction."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def activate(self, version: CalendarVersion, at: datetime) -> None:
        """See `Calendars.activate`."""
        bulk_insert(self._conn, calendar_activation, [{"version": version, "activate_time": at}])

    def active(self) -> CalendarVersion | None:
        """See `Calendars.active`."""
        columns = calendar_activation.c
        latest = select(columns.version).order_by(columns.seq.desc()).limit(1)
        return self._conn.scalar(latest)


class SlaUnitOfWork(SqlUnitOfWork):
    """`UnitOfWork` on PostgreSQL; what a transaction changed is counted once it is committed."""

    def __init__(self, engine: Engine, outbox_: Outbox, rules: Callable[[], Rules], metrics: SlaMetrics) -> None:
        super().__init__(engine, outbox_)
        self._rules_now = rules
        self._metrics = metrics

    def __enter__(self) -> Self:
        """Open the transaction."""
        super().__enter__()
        self.rules = self._rules_now()
        self.tickets = SqlTickets(self.connection, self.rules)
        self.calendars = SqlCalendars(self.connection)
        self._announced: list[DeadlineChanged] = []
        self._changed: list[tuple[Deadline | None, Deadline]] = []
        return self

    def announce(self, changes: Sequence[DeadlineChanged]) -> None:
        """See `UnitOfWork.announce`."""
        self._announced += changes
        for change in changes:
            self.publish(encode(change))

    def flush(self) -> None:
        """Write tickets and deadlines, then the messages."""
        self._changed += self.tickets.flush()
        super().flush()

    def commit(self) -> None:
        """Write everything, commit, and count it."""
        super().commit()
        self._metrics.count(self._announced, self._changed)
        waiting = [
            now.ticket_id for before, now in self._changed if _waits_for_calendar(now) and not (before and _waits_for_calendar(before))
        ]
        if waiting:
            log.error("calendar_unknown", calendar_version=self.rules.calendar_version, tickets=len(waiting), ticket_id=waiting[0])
        self._announced, self._changed = [], []


class SqlDeadlineReader:
    """`DeadlineReader` on PostgreSQL."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of_ticket(self, ticket_id: TicketId, caller: Caller) -> Sequence[Deadline]:
        """See `DeadlineReader.of_ticket`."""
        statement = _visible_to(caller).where(deadline_table.c.ticket_id == ticket_id)
        with self._engine.connect() as conn:
            rows = conn.execute(statement.order_by(deadline_table.c.cycle, deadline_table.c.kind)).all()
        return [_deadline(row) for row in rows]

    def due(self, wanted: DueFilter, caller: Caller, after: DuePosition | None, size: int) -> Sequence[Deadline]:
        """See `DeadlineReader.due`."""
        columns = deadline_table.c
        order = (columns.due_time, columns.ticket_id, columns.kind, columns.cycle)
        statement = _visible_to(caller).where(columns.state == State.RUNNING.value, *_conditions(wanted))
        if after is not None:
            statement = statement.where(tuple_(*order) > (after.due_time, after.ticket_id, after.kind.value, after.cycle))
        with self._engine.connect() as conn:
            rows = conn.execute(statement.order_by(*order).limit(size)).all()
        return [_deadline(row) for row in rows]

    def tallies(self) -> Mapping[tuple[Kind, Tally], int]:
        """Return how many deadlines are open, by kind and tally; costs the same however many there are."""
        columns = deadline_tally.c
        statement = select(columns.kind, columns.tally, func.sum(columns.deadlines).label("deadlines")).group_by(
            columns.kind, columns.tally
        )
        with self._engine.connect() as conn:
            rows = conn.execute(statement).all()
        return {(Kind(row.kind), Tally(row.tally)): int(row.deadlines) for row in rows if row.kind in _KINDS and row.tally in _TALLIES}


def _visible_to(caller: Caller) -> Select[Any]:
    """Select the deadlines that a caller may see: a portal those of its tickets, a unit those of tickets that it leads now."""
    statement = select(deadline_table).join(ticket_clock, ticket_clock.c.ticket_id == deadline_table.c.ticket_id)
    return statement.where(_is_own(caller), _is_of_known_kind())


def _is_of_known_kind() -> ColumnElement[bool]:
    """Omit deadlines of a kind that only a newer release knows; that release processes them."""
    return _is_among(deadline_table.c.kind, sorted(_KINDS))


def _is_own(caller: Caller) -> ColumnElement[bool]:
    if caller.sees_everything:
        return true()
    return (ticket_clock.c.portal if caller.role is Role.PORTAL else ticket_clock.c.lead_unit) == caller.subject


def _conditions(wanted: DueFilter) -> Iterable[ColumnElement[bool]]:
    if wanted.unit is not None:
        yield deadline_table.c.unit == wanted.unit
    if wanted.due_time_from is not None:
        yield deadline_table.c.due_time >= wanted.due_time_from
    if wanted.due_time_until is not None:
        yield deadline_table.c.due_time < wanted.due_time_until


def _locked(ticket_ids: Sequence[TicketId]) -> Select[Any]:
    wanted = _is_among(ticket_clock.c.ticket_id, ticket_ids)
    return select(ticket_clock).where(wanted).order_by(ticket_clock.c.ticket_id).with_for_update()


def _is_among(column: Column[Any], values: Sequence[str]) -> ColumnElement[bool]:
    """Condition with one parameter, whatever the number of values, so that the statement stays the same."""
    return column == any_(literal(list(values), ARRAY(Text)))


def _due(statement: Select[Any], until: datetime) -> Select[Any]:
    return statement.where(ticket_clock.c.check_time <= until).order_by(ticket_clock.c.check_time)


def _computed_otherwise(statement: Select[Any], version: CalendarVersion) -> Select[Any]:
    computed_with = ticket_clock.c.calendar_version
    # Two ranges instead of "<>", so that PostgreSQL can use the index.
    return statement.where(ticket_clock.c.is_open, or_(computed_with < version, computed_with > version))


def _choose(statement: Select[Any], chosen: Chosen) -> Select[Any]:
    if chosen.without:
        statement = statement.where(ticket_clock.c.ticket_id != all_(literal(list(chosen.without), ARRAY(Text))))
    return statement if chosen.only is None else statement.where(ticket_clock.c.ticket_id == chosen.only)


def _waits_for_calendar(deadline: Deadline) -> bool:
    return deadline.state is State.PENDING_CALENDAR


def _ticket_row(ticket: TicketDeadlines, rules: Rules) -> dict[str, Any]:
    return {
        "ticket_id": ticket.ticket_id,
        "portal": ticket.facts.portal,
        "lead_unit": ticket.facts.lead_unit() or None,
        "facts": to_json(ticket.facts),
        "check_time": ticket.check_time(rules),
        "calendar_version": ticket.calendar_version or rules.calendar_version,
        "is_open": ticket.is_open,
    }


def _deadline_row(deadline: Deadline) -> dict[str, Any]:
    return {
        "ticket_id": deadline.ticket_id,
        "kind": deadline.kind.value,
        "cycle": deadline.cycle,
        "state": deadline.state.value,
        "start_time": deadline.start_time,
        "due_time": deadline.due_time,
        "original_due_time": deadline.original_due_time,
        "at_risk_time": deadline.at_risk_time,
        "at_risk_due_time": deadline.at_risk_due_time,
        "breach_time": deadline.breach_time,
        "finish_time": deadline.finish_time,
        "unit": deadline.unit,
        "extension_workdays": deadline.extension_workdays,
        "is_over": deadline.is_over,
        "announced": sorted(deadline.announced),
    }


def _deadline(row: Row[Any]) -> Deadline:
    return Deadline(
        ticket_id=TicketId(row.ticket_id),
        kind=Kind(row.kind),
        cycle=Cycle(row.cycle),
        state=known(State, row.state),
        start_time=row.start_time,
        due_time=row.due_time,
        original_due_time=row.original_due_time,
        at_risk_time=row.at_risk_time,
        at_risk_due_time=row.at_risk_due_time,
        breach_time=row.breach_time,
        finish_time=row.finish_time,
        unit=UnitCode(row.unit),
        extension_workdays=row.extension_workdays,
        is_over=row.is_over,
        announced=frozenset(row.announced),
    )
