"""PostgreSQL: intake's stores and its unit of work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import ARRAY, Text, all_, and_, insert, literal, or_, select, text, tuple_

from chassis.bulk import bulk_insert, bulk_update, bulk_upsert
from chassis.caller import Role
from chassis.message import new_id
from chassis.sql import SqlUnitOfWork
from services.intake.adapters.events import encode
from services.intake.adapters.tables import (
    change_table,
    contact_look_table,
    contact_table,
    enterprise_table,
    number_counter_table,
    request_key_table,
    ticket_table,
)
from services.intake.application.ports import KnownRequest, RequestKey, Standing
from services.intake.domain.number import is_number
from services.intake.domain.ticket import Change, Contact, Enterprise, Rating, Ticket
from services.intake.domain.types import (
    Channel,
    DistrictCode,
    PortalCode,
    RequestId,
    Solved,
    TicketId,
    TicketNumber,
    TicketState,
    UnitCode,
    Uscc,
    Version,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import date, datetime

    from sqlalchemy import ColumnElement, Connection, Engine, Row

    from chassis.caller import Caller
    from chassis.outbox import Outbox
    from services.intake.application.ports import TicketFilter
    from services.intake.domain.events import Event


_CHANGING = (
    "state",
    "version",
    "update_time",
    "due_time",
    "lead_unit",
    "co_handler_units",
    "class_code",
    "dispatch_epoch",
    "supplement_question",
    "resolution",
    "resolve_time",
    "decline_reason",
    "solved",
    "score",
    "rating_comment",
    "rate_time",
    "reopen_count",
)


def new_ticket_id() -> TicketId:
    """Return the id of a new ticket."""
    return TicketId(new_id())


class SqlRequests:
    """`Requests` on the table `request_key`."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def claim(self, wanted: Mapping[RequestKey, KnownRequest]) -> Mapping[RequestKey, KnownRequest]:
        """See `Requests.claim`."""
        rows = [
            {
                "portal": key.portal,
                "scope": key.scope,
                "request_id": key.request_id,
                "fingerprint": request.fingerprint,
                "ticket_id": request.ticket_id,
            }
            # Keys are claimed in one order everywhere, so that two transactions cannot wait for each other.
            for key, request in sorted(wanted.items(), key=lambda item: (item[0].portal, item[0].scope, item[0].request_id))
        ]
        ours = self._insert(rows)
        theirs = [key for key in wanted if key not in ours]
        if not theirs:
            return {}
        columns = request_key_table.c
        keys = [(key.portal, key.scope, key.request_id) for key in theirs]
        held = self._conn.execute(select(request_key_table).where(tuple_(columns.portal, columns.scope, columns.request_id).in_(keys)))
        return {_key(row): KnownRequest(bytes(row.fingerprint), TicketId(row.ticket_id)) for row in held}

    def _insert(self, rows: Sequence[Mapping[str, Any]]) -> set[RequestKey]:
        names = ", ".join(rows[0])
        statement = text(
            f"INSERT INTO {request_key_table.fullname} ({names}) "  # noqa: S608 - names of ours
            "SELECT * FROM unnest(CAST(:portal AS text[]), CAST(:scope AS text[]), CAST(:request_id AS text[]), "
            "CAST(:fingerprint AS bytea[]), CAST(:ticket_id AS text[])) "
            "ON CONFLICT DO NOTHING RETURNING portal, scope, request_id",
        )
        inserted = self._conn.execute(statement, {name: [row[name] for row in rows] for name in rows[0]})
        return {_key(row) for row in inserted}


def _key(row: Row[Any]) -> RequestKey:
    return RequestKey(PortalCode(row.portal), row.scope, RequestId(row.request_id))


class SqlTickets:
    """`Tickets` on the tables `ticket`, `contact` and `ticket_change`."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._new: dict[TicketId, tuple[Ticket, Contact]] = {}
        self._loaded: dict[TicketId, Ticket] = {}

    def add(self, ticket: Ticket, contact: Contact) -> None:
        """See `Tickets.add`."""
        self._new[ticket.ticket_id] = (ticket, contact)

    def lock_many(self, ticket_ids: Sequence[TicketId]) -> None:
        """See `Tickets.lock_many`."""
        missing = sorted({ticket_id for ticket_id in ticket_ids if ticket_id not in self._loaded})
        if missing:
            statement = select(ticket_table).where(ticket_table.c.ticket_id.in_(missing))
            for row in self._conn.execute(statement.order_by(ticket_table.c.ticket_id).with_for_update()):
                self._remember(row)

    def get(self, ticket_id: TicketId) -> Ticket | None:
        """See `Tickets.get`."""
        if ticket_id in self._new:
            return self._new[ticket_id][0]
        self.lock_many([ticket_id])
        return self._loaded.get(ticket_id)

    def find(self, reference: str, portal: PortalCode | None) -> Ticket | None:
        """See `Tickets.find`."""
        row = self._conn.execute(select(ticket_table).where(referred(reference), seen_by(portal))).one_or_none()
        return None if row is None else _ticket(row)

    def find_for_update(self, reference: str, portal: PortalCode) -> Ticket | None:
        """See `Tickets.find_for_update`."""
        statement = select(ticket_table).where(referred(reference), seen_by(portal)).with_for_update()
        row = self._conn.execute(statement).one_or_none()
        return None if row is None else self._remember(row)

    def page(self, wanted: TicketFilter, after: tuple[datetime, TicketId] | None, size: int) -> Sequence[Ticket]:
        """See `Tickets.page`."""
        columns = ticket_table.c
        statement = select(ticket_table).where(*_conditions(wanted))
        if after is not None:
            statement = statement.where(tuple_(columns.create_time, columns.ticket_id) < after)
        newest = statement.order_by(columns.create_time.desc(), columns.ticket_id.desc()).limit(size)
        return [_ticket(row) for row in self._conn.execute(newest)]

    def resolved_before(
        self,
        limit: datetime,
        size: int,
        *,
        without: Collection[TicketId] = (),
        only: TicketId | None = None,
    ) -> Sequence[Ticket]:
        """See `Tickets.resolved_before`."""
        statement = select(ticket_table).where(*_is_resolved_before(limit, without))
        if only is not None:
            statement = statement.where(ticket_table.c.ticket_id == only)
        oldest = statement.order_by(ticket_table.c.resolve_time).limit(size).with_for_update(skip_locked=True)
        return [self._remember(row) for row in self._conn.execute(oldest)]

    def ids_resolved_before(self, limit: datetime, size: int, without: Collection[TicketId]) -> Sequence[TicketId]:
        """Return the ids of the tickets of `resolved_before`, without locking or reading the rows."""
        columns = ticket_table.c
        statement = select(columns.ticket_id).where(*_is_resolved_before(limit, without)).order_by(columns.resolve_time).limit(size)
        return [TicketId(ticket_id) for ticket_id in self._conn.scalars(statement)]

    def flush(self) -> bool:
        """Write new tickets, changed tickets and changes; True if anything changed."""
        new = [ticket for ticket, _ in self._new.values()]
        changed = [ticket for ticket in self._loaded.values() if ticket.changes]
        bulk_insert(self._conn, ticket_table, [_row(ticket) for ticket in new])
        bulk_insert(
            self._conn,
            contact_table,
            [{"ticket_id": ticket.ticket_id, "name": contact.name, "phone": contact.phone} for ticket, contact in self._new.values()],
        )
        bulk_update(self._conn, ticket_table, [_changing(ticket) for ticket in changed])
        changes = [change for ticket in (*new, *changed) for change in ticket.changes]
        bulk_insert(self._conn, change_table, [_change_row(change) for change in changes])
        for ticket in (*new, *changed):
            ticket.changes.clear()
        self._loaded.update({ticket.ticket_id: ticket for ticket in new})
        self._new.clear()
        return bool(changes)

    def _remember(self, row: Row[Any]) -> Ticket:
        ticket = _ticket(row)
        return self._loaded.setdefault(ticket.ticket_id, ticket)


class SqlContacts:
    """`Contacts` on the tables `contact` and `contact_look`."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def of_ticket_with(self, reference: str, unit: UnitCode) -> tuple[Ticket, Contact] | None:
        """See `Contacts.of_ticket_with`."""
        part = or_(ticket_table.c.lead_unit == unit, ticket_table.c.co_handler_units.any(unit))
        statement = (
            select(ticket_table, contact_table.c.name.label("contact_name"), contact_table.c.phone)
            .join(contact_table)
            .where(referred(reference), part)
        )
        row = self._conn.execute(statement).one_or_none()
        return None if row is None else (_ticket(row), Contact(name=row.contact_name, phone=row.phone))

    def record_look(self, ticket_id: TicketId, unit: UnitCode, at: datetime) -> None:
        """See `Contacts.record_look`."""
        self._conn.execute(insert(contact_look_table).values(look_id=new_id(), ticket_id=ticket_id, unit=unit, look_time=at))


class SqlNumbers:
    """`Numbers` on the table `number_counter`."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def take(self, wanted: Mapping[tuple[date, DistrictCode], int]) -> Mapping[tuple[date, DistrictCode], int]:
        """See `Numbers.take`."""
        if not wanted:
            return {}
        ordered = sorted(wanted.items())
        rows = self._conn.execute(
            text(
                f"INSERT INTO {number_counter_table.fullname} AS n (day, district, last) "  # noqa: S608 - the table's name is ours
                "SELECT * FROM unnest(CAST(:days AS date[]), CAST(:districts AS text[]), CAST(:counts AS bigint[])) "
                "ON CONFLICT (day, district) DO UPDATE SET last = n.last + EXCLUDED.last RETURNING day, district, last",
            ),
            {
                "days": [day for (day, _), _ in ordered],
                "districts": [district for (_, district), _ in ordered],
                "counts": [count for _, count in ordered],
            },
        )
        return {(row.day, DistrictCode(row.district)): row.last for row in rows}


class SqlEnterprises:
    """`Enterprises` on the table `enterprise`."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def districts(self, usccs: Sequence[Uscc]) -> Mapping[Uscc, DistrictCode]:
        """See `Enterprises.districts`."""
        if not usccs:
            return {}
        columns = enterprise_table.c
        rows = self._conn.execute(select(columns.uscc, columns.district).where(columns.uscc.in_(set(usccs))))
        return {Uscc(row.uscc): DistrictCode(row.district) for row in rows}

    def put(self, enterprises: Sequence[Enterprise]) -> None:
        """See `Enterprises.put`."""
        unique = {enterprise.uscc: enterprise for enterprise in enterprises}
        rows = [{"uscc": each.uscc, "name": each.name, "district": each.district} for each in unique.values()]
        bulk_upsert(self._conn, enterprise_table, rows)


class IntakeUnitOfWork(SqlUnitOfWork):
    """One transaction over all of intake's stores."""

    def __init__(self, engine: Engine, messages: Outbox, *, on_change: Callable[[], None] = lambda: None) -> None:
        """Work on `engine`; `on_change` is called after a commit that changed tickets."""
        super().__init__(engine, messages)
        self._on_change = on_change

    def __enter__(self) -> Self:
        """Open the transaction."""
        super().__enter__()
        self.requests = SqlRequests(self.connection)
        self.tickets = SqlTickets(self.connection)
        self.contacts = SqlContacts(self.connection)
        self.numbers = SqlNumbers(self.connection)
        self.enterprises = SqlEnterprises(self.connection)
        self._changed = False
        return self

    def tell(self, event: Event) -> None:
        """Publish an event if and only if the transaction commits."""
        self.publish(encode(event))

    def flush(self) -> None:
        """Write tickets, then messages."""
        self._changed = self.tickets.flush() or self._changed
        super().flush()

    def commit(self) -> None:
        """Commit, and tell those who watch."""
        super().commit()
        if self._changed:
            self._on_change()


class SqlChangeLog:
    """`ChangeLog` on the table `ticket_change`, each call in a transaction of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def standing_of(self, reference: str, caller: Caller) -> Standing | None:
        """See `ChangeLog.standing_of`."""
        portal = PortalCode(caller.subject) if caller.role is Role.PORTAL else None
        columns = ticket_table.c
        statement = select(columns.ticket_id, columns.version, columns.state).where(referred(reference), seen_by(portal))
        with self._engine.connect() as conn:
            row = conn.execute(statement).one_or_none()
        return None if row is None else Standing(TicketId(row.ticket_id), Version(row.version), TicketState(row.state))

    def since(self, positions: Mapping[TicketId, Version], most: int) -> Sequence[Change]:
        """See `ChangeLog.since`."""
        with self._engine.connect() as conn:
            rows = conn.execute(
                text(
                    f"SELECT c.* FROM unnest(CAST(:ids AS text[]), CAST(:versions AS bigint[])) AS w (ticket_id, version) "  # noqa: S608
                    f"JOIN {change_table.fullname} AS c ON c.ticket_id = w.ticket_id AND c.version > w.version "
                    "ORDER BY c.ticket_id, c.version LIMIT :most",
                ),
                {"ids": list(positions), "versions": list(positions.values()), "most": most},
            ).all()
        return [
            Change(
                ticket_id=TicketId(row.ticket_id),
                version=Version(row.version),
                state=TicketState(row.state),
                occur_time=row.occur_time,
                kind=row.kind,
                unit=None if row.unit is None else UnitCode(row.unit),
                note=row.note,
            )
            for row in rows
        ]


def referred(reference: str) -> ColumnElement[bool]:
    """Condition: the ticket of this id or number."""
    return (ticket_table.c.number if is_number(reference) else ticket_table.c.ticket_id) == reference


def seen_by(portal: PortalCode | None) -> ColumnElement[bool]:
    """Condition: that portal's tickets; all if None."""
    return and_(True) if portal is None else ticket_table.c.portal == portal  # noqa: FBT003 - SQLAlchemy's form of an empty condition


def _conditions(wanted: TicketFilter) -> Iterable[ColumnElement[bool]]:
    columns = ticket_table.c
    yield seen_by(wanted.portal)
    if wanted.uscc:
        yield columns.uscc == wanted.uscc
    if wanted.states:
        yield columns.state.in_([state.value for state in wanted.states])
    if wanted.create_time_from is not None:
        yield columns.create_time >= wanted.create_time_from
    if wanted.create_time_until is not None:
        yield columns.create_time < wanted.create_time_until


def _is_resolved_before(limit: datetime, without: Collection[TicketId]) -> Iterable[ColumnElement[bool]]:
    columns = ticket_table.c
    yield columns.state == TicketState.RESOLVED.value
    yield columns.resolve_time < limit
    yield columns.solved.is_distinct_from(Solved.NO.value)
    if without:
        yield columns.ticket_id != all_(literal(list(without), ARRAY(Text)))


def _row(ticket: Ticket) -> dict[str, Any]:
    rating = ticket.rating
    return {
        "ticket_id": ticket.ticket_id,
        "number": ticket.number,
        "portal": ticket.portal,
        "uscc": ticket.enterprise.uscc,
        "enterprise_name": ticket.enterprise.name,
        "enterprise_district": ticket.enterprise.district,
        "text": ticket.text,
        "channel": ticket.channel.value,
        "district": ticket.district,
        "confidential": ticket.confidential,
        "state": ticket.state.value,
        "version": ticket.version,
        "create_time": ticket.create_time,
        "update_time": ticket.update_time,
        "due_time": ticket.due_time,
        "lead_unit": ticket.lead_unit,
        "co_handler_units": list(ticket.co_handler_units),
        "class_code": ticket.class_code,
        "dispatch_epoch": ticket.dispatch_epoch,
        "supplement_question": ticket.supplement_question,
        "resolution": ticket.resolution,
        "resolve_time": ticket.resolve_time,
        "decline_reason": ticket.decline_reason,
        "solved": rating and rating.solved.value,
        "score": rating and rating.score,
        "rating_comment": rating and rating.comment,
        "rate_time": rating and rating.rate_time,
        "reopen_count": ticket.reopen_count,
    }


def _changing(ticket: Ticket) -> dict[str, Any]:
    row = _row(ticket)
    return {name: row[name] for name in ("ticket_id", *_CHANGING)}


def _change_row(change: Change) -> dict[str, Any]:
    return {
        "ticket_id": change.ticket_id,
        "version": change.version,
        "state": change.state.value,
        "occur_time": change.occur_time,
        "kind": change.kind,
        "unit": change.unit,
        "note": change.note,
    }


def _ticket(row: Row[Any]) -> Ticket:
    return Ticket(
        ticket_id=TicketId(row.ticket_id),
        number=TicketNumber(row.number),
        portal=PortalCode(row.portal),
        enterprise=Enterprise(uscc=Uscc(row.uscc), name=row.enterprise_name, district=DistrictCode(row.enterprise_district)),
        text=row.text,
        channel=Channel(row.channel),
        district=DistrictCode(row.district),
        confidential=row.confidential,
        create_time=row.create_time,
        state=TicketState(row.state),
        version=Version(row.version),
        update_time=row.update_time,
        due_time=row.due_time,
        lead_unit=None if row.lead_unit is None else UnitCode(row.lead_unit),
        co_handler_units=tuple(UnitCode(unit) for unit in row.co_handler_units),
        class_code=row.class_code,
        dispatch_epoch=row.dispatch_epoch,
        supplement_question=row.supplement_question,
        resolution=row.resolution,
        resolve_time=row.resolve_time,
        decline_reason=row.decline_reason,
        rating=_rating(row),
        reopen_count=row.reopen_count,
    )


def _rating(row: Row[Any]) -> Rating | None:
    if row.solved is None:
        return None
    return Rating(solved=Solved(row.solved), score=row.score, comment=row.rating_comment, rate_time=row.rate_time)
