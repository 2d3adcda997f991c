"""What the use cases need from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from chassis.caller import Caller
    from services.sla.domain.calendar import CalendarVersion
    from services.sla.domain.deadline import Deadline, DeadlineChanged, TicketDeadlines, TicketId
    from services.sla.domain.facts import Cycle, UnitCode
    from services.sla.domain.promise import Kind, Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Filter of the tickets to act on.

    Attributes:
        without: Tickets to omit.
        only: The one ticket to act on; None for any.
    """

    without: Collection[TicketId] = ()
    only: TicketId | None = None


ANY = Chosen()


class Tickets(Protocol):
    """Tickets with their deadlines. What is got is locked until the transaction ends; what is put is written on commit."""

    def lock_many(self, ticket_ids: Collection[TicketId]) -> None:
        """Read and lock several tickets by a few statements, in the order of their ids; those not known yet are made."""
        ...

    def get(self, ticket_id: TicketId) -> TicketDeadlines:
        """Return a ticket, locked; one not known yet is made."""
        ...

    def put(self, ticket: TicketDeadlines) -> None:
        """Keep what became of a ticket that was got."""
        ...

    def lock_due(self, until: datetime, size: int, *, chosen: Chosen = ANY) -> Sequence[TicketDeadlines]:
        """Return up to `size` tickets to be looked at by `until`, earliest first, locked; those that others hold are left out."""
        ...

    def lock_computed_otherwise(self, version: CalendarVersion, size: int, *, chosen: Chosen = ANY) -> Sequence[TicketDeadlines]:
        """Return up to `size` open tickets that another version of the calendar computed, locked; those that others hold are left out."""
        ...


class Calendars(Protocol):
    """Which calendars were put in force, over all replicas."""

    def activate(self, version: CalendarVersion, at: datetime) -> None:
        """Record that a calendar was put in force."""
        ...

    def active(self) -> CalendarVersion | None:
        """Return the one that was put in force last."""
        ...


class UnitOfWork(Protocol):
    """One transaction over all of the service's stores; whoever opened it commits it."""

    @property
    def rules(self) -> Rules:
        """Rules that hold in this transaction."""
        ...

    @property
    def tickets(self) -> Tickets: ...  # noqa: D102
    @property
    def calendars(self) -> Calendars: ...  # noqa: D102

    def announce(self, changes: Sequence[DeadlineChanged]) -> None:
        """Publish changes, in their order, if and only if the transaction commits."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DuePosition:
    """A place in the list of what is due: after the deadline with these values."""

    due_time: datetime
    ticket_id: TicketId
    kind: Kind
    cycle: Cycle


@dataclass(frozen=True, slots=True, kw_only=True)
class DueFilter:
    """Which running deadlines to list; None means all.

    Attributes:
        unit: Of that unit.
        due_time_from: Due then or later.
        due_time_until: Due before.
    """

    unit: UnitCode | None
    due_time_from: datetime | None
    due_time_until: datetime | None


class DeadlineReader(Protocol):
    """Reads deadlines without locks; every statement is narrowed to what the caller may see."""

    def of_ticket(self, ticket_id: TicketId, caller: Caller) -> Sequence[Deadline]:
        """Return a ticket's deadlines, earliest cycle first, dispatch before resolution; none if the ticket is not the caller's."""
        ...

    def due(self, wanted: DueFilter, caller: Caller, after: DuePosition | None, size: int) -> Sequence[Deadline]:
        """Return up to `size` running deadlines after a position, earliest due first."""
        ...
