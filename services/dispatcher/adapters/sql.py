"""PostgreSQL: the dispatcher's tables, its unit of work and its readings.

A dispatch is one row, and values inside it that nothing searches for are JSON by their domain types. The row exists from the first that is
heard of a ticket, whatever topic it comes from: its primary key is what keeps two replicas from working on one ticket at once.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Self

from pydantic import TypeAdapter
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError

from chassis import trace
from chassis.inbox import inbox_table
from chassis.message import RetryLater
from chassis.outbox import outbox_table
from chassis.sql import SqlUnitOfWork, bulk_insert, bulk_update
from services.dispatcher.application.ports import Position, Seen
from services.dispatcher.domain import commands, events
from services.dispatcher.domain.dispatch import Dispatch
from services.dispatcher.domain.values import (
    IN_HAND,
    Assignment,
    Classification,
    DecisionId,
    DecisionRecord,
    Extension,
    KeepCount,
    State,
    Supplement,
    Ticket,
    TicketId,
    Triage,
    UnitCode,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime, timedelta

    from sqlalchemy import Connection, Engine, Row

    from chassis.clock import Clock
    from chassis.message import OutMessage
    from chassis.outbox import Outbox
    from services.dispatcher.adapters.events import Announcer
    from services.dispatcher.application.ports import DispatchFilter
    from services.dispatcher.domain.commands import EarlyCommand
    from services.dispatcher.domain.events import Event
    from services.dispatcher.domain.values import ClassCode
    from services.dispatcher.telemetry import DispatcherMetrics

SCHEMA = "dispatcher"
SOURCE = "/paidan/dispatcher"

metadata = MetaData(schema=SCHEMA)

_INSTANT = DateTime(timezone=True)

ticket_table = Table(
    "ticket",
    metadata,
    Column("ticket_id", Text, primary_key=True),
    Column("number", Text, nullable=False),
    Column("uscc", Text, nullable=False),
    Column("enterprise_name", Text, nullable=False),
    Column("request_district", Text, nullable=False),
    Column("enterprise_district", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("confidential", Boolean, nullable=False),
    Column("submit_time", _INSTANT, nullable=False),
    Column("traceparent", Text, comment="trace that the submission belongs to; what the guard does continues it"),
    Index("ticket_number", "number"),
    comment="what intake said of a ticket; never changes",
)

dispatch_table = Table(
    "dispatch",
    metadata,
    Column("ticket_id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("assignment", JSONB),
    Column("accepted", Boolean, nullable=False),
    Column("leads", JSONB, nullable=False, comment="lead unit of every epoch"),
    Column("bounce_count", Integer, nullable=False),
    Column("final", Boolean, nullable=False),
    Column("triage", JSONB),
    Column("triage_since", _INSTANT),
    Column("next_action_time", _INSTANT),
    Column("classification", JSONB),
    Column("due_time", _INSTANT),
    Column("pending_extension", JSONB),
    Column("supplement_question", Text, nullable=False),
    Column("supplements", JSONB, nullable=False),
    Column("resolution", Text, nullable=False),
    Column("early", JSONB, nullable=False, comment="what came before the ticket: [type, command] pairs"),
    Column("decision_id", Text),
    Column("order_time", _INSTANT, comment="time of the assignment, else of the submission; lists are ordered by it"),
    CheckConstraint("(order_time IS NULL) = (state = 'UNSUBMITTED')", name="dispatch_order_time"),
    Index("dispatch_next_action", "next_action_time", postgresql_where=text("next_action_time IS NOT NULL")),
    Index("dispatch_newest", "order_time", "ticket_id"),
    Index("dispatch_triage", "triage_since", "ticket_id", postgresql_where=text("triage_since IS NOT NULL")),
)

participant_table = Table(
    "participant",
    metadata,
    Column("ticket_id", Text, primary_key=True),
    Column("unit", Text, primary_key=True),
    Column("order_time", _INSTANT, nullable=False),
    Column("open", Boolean, nullable=False, comment="false once the ticket is resolved, withdrawn or declined"),
    Index("participant_newest", "unit", "order_time", "ticket_id"),
    Index("participant_open", "unit", "order_time", "ticket_id", postgresql_where=text("open")),
    comment="lead and co-handlers of the assignment in force: what a unit may see",
)

assignment_table = Table(
    "assignment",
    metadata,
    Column("ticket_id", Text, primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("lead_unit", Text, nullable=False),
    Column("co_handlers", JSONB, nullable=False),
    Column("class_code", Text),
    Column("class_probability", Double, nullable=False),
    Column("district_code", Text),
    Column("method", Text, nullable=False),
    Column("dispatch_time", _INSTANT, nullable=False),
    Column("decision_id", Text, nullable=False),
    Column("accept_time", _INSTANT),
    Column("resolve_time", _INSTANT),
    Column("end_time", _INSTANT, comment="when it was taken from the unit; NULL while in force or resolved"),
    Column("end_reason", Text),
    Column("return_reason", Text),
    Column("suggested_unit", Text),
    comment="every assignment that ever was",
)

decision_table = Table(
    "decision_record",
    metadata,
    Column("decision_id", Text, primary_key=True),
    Column("ticket_id", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("method", Text),
    Column("decide_time", _INSTANT, nullable=False),
    Column("decided_by", Text, nullable=False),
    Column("record", JSONB, nullable=False),
    Index("decision_of_ticket", "ticket_id", "decide_time"),
    comment="every decision with all that is needed to replay it",
)

keep_table = Table(
    "keep_stat",
    metadata,
    Column("unit", Text, primary_key=True),
    Column("class_code", Text, primary_key=True),
    Column("kept", BigInteger, nullable=False),
    Column("returned", BigInteger, nullable=False),
    comment="what units kept and returned of their own will",
)

inbox = inbox_table(metadata)
outbox = outbox_table(metadata)

_ASSIGNMENT: TypeAdapter[Assignment | None] = TypeAdapter(Assignment | None)
_TRIAGE: TypeAdapter[Triage | None] = TypeAdapter(Triage | None)
_CLASSIFICATION: TypeAdapter[Classification | None] = TypeAdapter(Classification | None)
_EXTENSION: TypeAdapter[Extension | None] = TypeAdapter(Extension | None)
_SUPPLEMENTS: TypeAdapter[tuple[Supplement, ...]] = TypeAdapter(tuple[Supplement, ...])
_DECISION: TypeAdapter[DecisionRecord] = TypeAdapter(DecisionRecord)
_EARLY: Mapping[str, TypeAdapter[Any]] = {
    kind.__name__: TypeAdapter(kind)
    for kind in (commands.TakeClassification, commands.WithdrawTicket, commands.DeliverSupplement, commands.NoteDeadline)
}

_TICKET_COLUMNS = ", ".join(f"t.{column.name}" for column in ticket_table.columns if column.name != "ticket_id")
_DISPATCH_COLUMNS = ", ".join(f"d.{column.name}" for column in dispatch_table.columns)

# Locks are taken in the order of ids by every transaction, so that two of them never wait for each other.
_LOCK = text(f"""
    SELECT {_DISPATCH_COLUMNS}, {_TICKET_COLUMNS}
    FROM unnest(CAST(:ids AS text[]), CAST(:units AS text[])) AS asked (ticket_id, unit)
    JOIN {SCHEMA}.dispatch AS d ON d.ticket_id = asked.ticket_id LEFT JOIN {SCHEMA}.ticket AS t ON t.ticket_id = d.ticket_id
    WHERE asked.unit IS NULL OR d.leads ? asked.unit OR d.assignment -> 'co_handlers' ? asked.unit
    ORDER BY d.ticket_id FOR UPDATE OF d
""")  # noqa: S608 - names of columns, no values

_DUE = text(f"""
    SELECT {_DISPATCH_COLUMNS}, {_TICKET_COLUMNS} FROM {SCHEMA}.dispatch AS d JOIN {SCHEMA}.ticket AS t USING (ticket_id)
    WHERE d.next_action_time <= :now ORDER BY d.next_action_time LIMIT :size FOR UPDATE OF d SKIP LOCKED
""")  # noqa: S608 - names of columns, no values

_LEARN = text(f"""
    INSERT INTO {SCHEMA}.keep_stat AS k (unit, class_code, kept, returned)
    SELECT * FROM unnest(CAST(:units AS text[]), CAST(:classes AS text[]), CAST(:kept AS bigint[]), CAST(:returned AS bigint[]))
    ON CONFLICT (unit, class_code) DO UPDATE SET kept = k.kept + EXCLUDED.kept, returned = k.returned + EXCLUDED.returned
""")  # noqa: S608 - the schema's name is ours

_END_FIELDS = ("accept_time", "resolve_time", "end_time", "end_reason", "return_reason", "suggested_unit")
_END = text(f"""
    UPDATE {SCHEMA}.assignment AS a SET {", ".join(f"{name} = COALESCE(row.{name}, a.{name})" for name in _END_FIELDS)}
    FROM unnest(
        CAST(:ticket_id AS text[]), CAST(:epoch AS integer[]), CAST(:accept_time AS timestamptz[]), CAST(:resolve_time AS timestamptz[]),
        CAST(:end_time AS timestamptz[]), CAST(:end_reason AS text[]), CAST(:return_reason AS text[]), CAST(:suggested_unit AS text[])
    ) AS row (ticket_id, epoch, {", ".join(_END_FIELDS)})
    WHERE a.ticket_id = row.ticket_id AND a.epoch = row.epoch
""")  # noqa: S608 - names of columns, no values


class Experience:
    """What units kept and returned, read again when it is older than `lifetime`. Shared by the threads of a process."""

    def __init__(self, clock: Clock, lifetime: timedelta) -> None:
        self._clock = clock
        self._lifetime = lifetime
        self._read: tuple[datetime, Mapping[tuple[UnitCode, ClassCode], KeepCount]] | None = None

    def counts(self, conn: Connection) -> Mapping[tuple[UnitCode, ClassCode], KeepCount]:
        """Return the counts by unit and class."""
        now = self._clock.now()
        if self._read is None or now - self._read[0] >= self._lifetime:
            rows = conn.execute(text(f"SELECT unit, class_code, kept, returned FROM {SCHEMA}.keep_stat"))  # noqa: S608
            self._read = (now, {(row.unit, row.class_code): KeepCount(kept=max(row.kept, 0), returned=row.returned) for row in rows})
        return self._read[1]


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

    def due(self, now: datetime, size: int) -> Sequence[Dispatch]:
        """Return what the guard of the minute has to act on, locked; what others hold is left out."""
        due = [self._hold(row) for row in self._conn.execute(_DUE, {"now": now, "size": size})]
        self._touched |= {dispatch.ticket_id for dispatch in due}
        return due

    def decision_of(self, dispatch: Dispatch) -> DecisionRecord | None:
        """Return the decision in force."""
        if dispatch.decision is not None or dispatch.decision_id is None:
            return dispatch.decision
        return _decisions(self._conn, [dispatch.decision_id]).get(dispatch.decision_id)

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
            bulk_insert(self._conn, dispatch_table, [_dispatch_row(dispatch) for dispatch in new])
        except IntegrityError as error:
            raise RetryLater("another replica heard of a ticket at the same moment") from error
        self._update(known)
        submitted = [dispatch for dispatch in changed if dispatch.ticket is not None and self._before(dispatch).ticket is None]
        bulk_insert(self._conn, ticket_table, [self._ticket_row(dispatch) for dispatch in submitted])
        self._write_participants(changed)

    def _update(self, dispatches: Sequence[Dispatch]) -> None:
        """Write the columns that changed: most news change one, and a row holds much."""
        alike: defaultdict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
        for dispatch in dispatches:
            changed = _changed_columns(self._loaded[dispatch.ticket_id], dispatch)
            alike[tuple(changed)].append(changed)
        for rows in alike.values():
            bulk_update(self._conn, dispatch_table, rows)

    def _write_participants(self, changed: Sequence[Dispatch]) -> None:
        before = {dispatch.ticket_id: _participants(self._before(dispatch)) for dispatch in changed}
        after = {dispatch.ticket_id: _participants(dispatch) for dispatch in changed}
        moved = [ticket_id for ticket_id, rows in after.items() if rows != before[ticket_id]]
        outdated = [ticket_id for ticket_id in moved if before[ticket_id]]
        if outdated:
            self._conn.execute(text(f"DELETE FROM {SCHEMA}.participant WHERE ticket_id = ANY(:ids)"), {"ids": outdated})  # noqa: S608
        bulk_insert(self._conn, participant_table, [row for ticket_id in moved for row in after[ticket_id]])

    def _before(self, dispatch: Dispatch) -> Dispatch:
        return self._loaded.get(dispatch.ticket_id) or Dispatch(ticket_id=dispatch.ticket_id)

    def _hold(self, row: Row[Any]) -> Dispatch:
        dispatch = _dispatch(row)
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

    def __enter__(self) -> Self:
        """Open the transaction."""
        super().__enter__()
        self._happened, self._refused, self._counts = [], [], None
        self.dispatches = SqlDispatches(self.connection)
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
        _write_history(self.connection, self._happened)
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


class SqlReading:
    """Reads dispatches without locking them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find(self, reference: str, unit: UnitCode | None) -> Seen | None:
        """Return the dispatch of a ticket's id or number; with `unit` only if that unit leads or helps with it."""
        narrowed = f"AND EXISTS (SELECT FROM {SCHEMA}.participant AS p WHERE p.ticket_id = d.ticket_id AND p.unit = :unit)"
        found = self._read(
            f"WHERE (t.ticket_id = :reference OR t.number = :reference) {narrowed if unit is not None else ''}",
            {"reference": reference, "unit": unit},
        )
        return next(iter(found), None)

    def page(self, wanted: DispatchFilter, after: Position | None, size: int) -> Sequence[Seen]:
        """Return up to `size` dispatches, newest assignment first, after a position."""
        source, place = "", "d"
        conditions = ["d.state <> 'UNSUBMITTED'"]
        if wanted.unit is not None:
            source, place = f"JOIN {SCHEMA}.participant AS p ON p.ticket_id = d.ticket_id AND p.unit = :unit", "p"
            if wanted.states and set(wanted.states) <= IN_HAND:
                conditions.append("p.open")
        if wanted.states:
            conditions.append("d.state = ANY(:states)")
        if after is not None:
            conditions.append(f"({place}.order_time, {place}.ticket_id) < (:time, :ticket_id)")
        return self._read(
            f"{source} WHERE {' AND '.join(conditions)} ORDER BY {place}.order_time DESC, {place}.ticket_id DESC LIMIT :size",
            {"unit": wanted.unit, "states": [state.value for state in wanted.states], "size": size, **_bound(after)},
        )

    def triage(self, after: Position | None, size: int) -> Sequence[Seen]:
        """Return up to `size` dispatches that wait for the desk, longest wait first, after a position."""
        later = "AND (d.triage_since, d.ticket_id) > (:time, :ticket_id)" if after is not None else ""
        return self._read(
            f"WHERE d.triage_since IS NOT NULL {later} ORDER BY d.triage_since, d.ticket_id LIMIT :size",
            {"size": size, **_bound(after)},
            place="triage_since",
        )

    def count_triage(self) -> int:
        """Return how many dispatches wait for the desk."""
        with self._engine.connect() as conn:
            count = conn.scalar(text(f"SELECT count(*) FROM {SCHEMA}.dispatch WHERE triage_since IS NOT NULL"))  # noqa: S608
        return int(count or 0)

    def count_unsubmitted(self) -> int:
        """Return of how many tickets something was heard, but not their submission."""
        with self._engine.connect() as conn:
            count = conn.scalar(text(f"SELECT count(*) FROM {SCHEMA}.dispatch WHERE order_time IS NULL"))  # noqa: S608
        return int(count or 0)

    def _read(self, rest: str, bound: Mapping[str, Any], *, place: str = "order_time") -> Sequence[Seen]:
        statement = text(
            f"SELECT {_DISPATCH_COLUMNS}, {_TICKET_COLUMNS} FROM {SCHEMA}.dispatch AS d JOIN {SCHEMA}.ticket AS t USING (ticket_id) {rest}",  # noqa: S608
        )
        with self._engine.connect() as conn:
            rows = conn.execute(statement, bound).all()
            decisions = _decisions(conn, [row.decision_id for row in rows if row.decision_id is not None])
        return [
            Seen(
                dispatch=_dispatch(row),
                decision=decisions.get(row.decision_id),
                position=Position(time=getattr(row, place), ticket_id=row.ticket_id),
            )
            for row in rows
        ]


def _bound(after: Position | None) -> dict[str, object]:
    return {} if after is None else {"time": after.time, "ticket_id": after.ticket_id}


def _decisions(conn: Connection, ids: Sequence[str]) -> dict[DecisionId, DecisionRecord]:
    if not ids:
        return {}
    rows = conn.execute(text(f"SELECT decision_id, record FROM {SCHEMA}.decision_record WHERE decision_id = ANY(:ids)"), {"ids": list(ids)})  # noqa: S608
    return {row.decision_id: _DECISION.validate_python(row.record) for row in rows}


def _participants(dispatch: Dispatch) -> list[dict[str, Any]]:
    assignment = dispatch.assignment
    if assignment is None:
        return []
    return [
        {
            "ticket_id": dispatch.ticket_id,
            "unit": unit,
            "order_time": assignment.dispatch_time,
            "open": dispatch.state in IN_HAND,
        }
        for unit in dict.fromkeys(assignment.participants)
    ]


def _dispatch_row(dispatch: Dispatch) -> dict[str, Any]:
    return {name: encode(value(dispatch)) for name, (value, encode) in _COLUMNS.items()}


def _changed_columns(before: Dispatch, now: Dispatch) -> dict[str, Any]:
    """Return the columns that changed, and the primary key."""
    return {
        name: encode(after) for name, (value, encode) in _COLUMNS.items() if (after := value(now)) != value(before) or name == "ticket_id"
    }


def _order_time(dispatch: Dispatch) -> datetime | None:
    if dispatch.assignment is not None:
        return dispatch.assignment.dispatch_time
    return None if dispatch.ticket is None else dispatch.ticket.submit_time


def _as_json(adapter: TypeAdapter[Any]) -> Callable[[object], bytes | None]:
    """Return what encodes a value as JSON, None as NULL."""
    return lambda value: None if value is None else adapter.dump_json(value)


def _early_as_json(early: Iterable[EarlyCommand]) -> list[list[object]]:
    return [[type(command).__name__, _EARLY[type(command).__name__].dump_python(command, mode="json")] for command in early]


def _plain(value: Any) -> Any:  # noqa: ANN401 - a column's value
    return value


_COLUMNS: Mapping[str, tuple[Callable[[Dispatch], Any], Callable[[Any], Any]]] = {
    "ticket_id": (lambda dispatch: dispatch.ticket_id, _plain),
    "state": (lambda dispatch: dispatch.state.value, _plain),
    "epoch": (lambda dispatch: dispatch.epoch, _plain),
    "assignment": (lambda dispatch: dispatch.assignment, _as_json(_ASSIGNMENT)),
    "accepted": (lambda dispatch: dispatch.accepted, _plain),
    "leads": (lambda dispatch: dispatch.leads, list),
    "bounce_count": (lambda dispatch: dispatch.bounce_count, _plain),
    "final": (lambda dispatch: dispatch.final, _plain),
    "triage": (lambda dispatch: dispatch.triage, _as_json(_TRIAGE)),
    "triage_since": (lambda dispatch: dispatch.triage and dispatch.triage.since, _plain),
    "next_action_time": (lambda dispatch: dispatch.next_action_time, _plain),
    "classification": (lambda dispatch: dispatch.classification, _as_json(_CLASSIFICATION)),
    "due_time": (lambda dispatch: dispatch.due_time, _plain),
    "pending_extension": (lambda dispatch: dispatch.pending_extension, _as_json(_EXTENSION)),
    "supplement_question": (lambda dispatch: dispatch.supplement_question, _plain),
    "supplements": (lambda dispatch: dispatch.supplements, _as_json(_SUPPLEMENTS)),
    "resolution": (lambda dispatch: dispatch.resolution, _plain),
    "early": (lambda dispatch: dispatch.early, _early_as_json),
    "decision_id": (lambda dispatch: dispatch.decision_id, _plain),
    "order_time": (_order_time, _plain),
}
"""Column → what of a dispatch it holds, and how that is written."""


def _dispatch(row: Row[Any]) -> Dispatch:
    return Dispatch(
        ticket_id=row.ticket_id,
        ticket=_ticket(row),
        state=State(row.state),
        epoch=row.epoch,
        assignment=_ASSIGNMENT.validate_python(row.assignment),
        accepted=row.accepted,
        leads=tuple(row.leads),
        bounce_count=row.bounce_count,
        final=row.final,
        triage=_TRIAGE.validate_python(row.triage),
        next_action_time=row.next_action_time,
        classification=_CLASSIFICATION.validate_python(row.classification),
        due_time=row.due_time,
        pending_extension=_EXTENSION.validate_python(row.pending_extension),
        supplement_question=row.supplement_question,
        supplements=_SUPPLEMENTS.validate_python(row.supplements),
        resolution=row.resolution,
        early=tuple(_early(kind, value) for kind, value in row.early),
        decision_id=row.decision_id,
    )


def _early(kind: str, value: object) -> EarlyCommand:
    command: EarlyCommand = _EARLY[kind].validate_python(value)
    return command


def _ticket(row: Row[Any]) -> Ticket | None:
    if row.number is None:
        return None
    return Ticket(
        ticket_id=row.ticket_id,
        number=row.number,
        uscc=row.uscc,
        enterprise_name=row.enterprise_name,
        request_district=row.request_district,
        enterprise_district=row.enterprise_district,
        text=row.text,
        confidential=row.confidential,
        submit_time=row.submit_time,
    )


def _write_history(conn: Connection, happened: Sequence[Event]) -> None:
    """Write assignments, decisions and what was learned."""
    assigned = [event for event in happened if isinstance(event, events.LeadAssigned)]
    decided = [event.decision for event in happened if isinstance(event, _DECIDED)]
    bulk_insert(conn, assignment_table, [_assignment_row(event) for event in assigned])
    bulk_insert(conn, decision_table, [_decision_row(decision) for decision in decided])
    _write_ends(conn, happened)
    _learn(conn, [event for event in happened if isinstance(event, events.KeepingLearned)])


_DECIDED = (events.LeadAssigned, events.SentToTriage, events.GuessesImproved, events.TicketDeclined)


def _assignment_row(event: events.LeadAssigned) -> dict[str, Any]:
    assignment = event.assignment
    return {
        "ticket_id": event.ticket.ticket_id,
        "epoch": assignment.epoch,
        "lead_unit": assignment.lead,
        "co_handlers": list(assignment.co_handlers),
        "class_code": assignment.class_code,
        "class_probability": assignment.class_probability,
        "district_code": assignment.district.code,
        "method": assignment.method.value,
        "dispatch_time": assignment.dispatch_time,
        "decision_id": assignment.decision_id,
    }


def _decision_row(decision: DecisionRecord) -> dict[str, Any]:
    return {
        "decision_id": decision.decision_id,
        "ticket_id": decision.ticket_id,
        "epoch": decision.epoch,
        "method": decision.method and decision.method.value,
        "decide_time": decision.decide_time,
        "decided_by": decision.decided_by,
        "record": _DECISION.dump_json(decision),
    }


def _write_ends(conn: Connection, happened: Sequence[Event]) -> None:
    ends: defaultdict[tuple[TicketId, int], dict[str, Any]] = defaultdict(dict)
    for event in happened:
        match event:
            case events.LeadAccepted():
                ends[event.ticket.ticket_id, event.epoch]["accept_time"] = event.time
            case events.LeadResolved():
                ends[event.ticket.ticket_id, event.epoch]["resolve_time"] = event.time
            case events.LeadReleased():
                ends[event.ticket.ticket_id, event.assignment.epoch] |= {"end_time": event.time, "end_reason": event.reason.value}
            case events.LeadReturned():
                ends[event.ticket.ticket_id, event.epoch] |= {
                    "return_reason": event.reason.value,
                    "suggested_unit": event.suggested_unit or None,
                }
            case _:
                pass
    if ends:
        columns = {name: [end.get(name) for end in ends.values()] for name in _END_FIELDS}
        conn.execute(_END, {"ticket_id": [key[0] for key in ends], "epoch": [key[1] for key in ends], **columns})


def _learn(conn: Connection, learned: Sequence[events.KeepingLearned]) -> None:
    totals: defaultdict[tuple[UnitCode, ClassCode], list[int]] = defaultdict(lambda: [0, 0])
    for event in learned:
        total = totals[event.evidence.unit, event.evidence.class_code]
        total[0] += event.evidence.kept
        total[1] += event.evidence.returned
    if totals:
        # In the order of their keys, so that two transactions never wait for each other.
        rows = sorted((unit, class_code, kept, returned) for (unit, class_code), (kept, returned) in totals.items())
        units, classes, kept, returned = zip(*rows, strict=True)
        conn.execute(_LEARN, {"units": list(units), "classes": list(classes), "kept": list(kept), "returned": list(returned)})
