"""Apply what the dispatcher and the SLA service tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from services.intake.application.ports import UnitOfWork
    from services.intake.domain.ticket import DispatchFacts, Ticket, UnitAct
    from services.intake.domain.types import TicketId


@dataclass(frozen=True, slots=True)
class Dispatched:
    """A unit leads the ticket."""

    ticket_id: TicketId
    facts: DispatchFacts


@dataclass(frozen=True, slots=True)
class SentToTriage:
    """The desk decides.

    Attributes:
        ticket_id: Ticket.
        time: Time of the event.
        epoch: Epoch of the previous assignment, 0 if there was none; None in events of a release without this field.
    """

    ticket_id: TicketId
    time: datetime
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The lead unit signed for it."""

    ticket_id: TicketId
    act: UnitAct


@dataclass(frozen=True, slots=True)
class SupplementRequested:
    """The lead unit asks the enterprise."""

    ticket_id: TicketId
    act: UnitAct


@dataclass(frozen=True, slots=True)
class Resolved:
    """The lead unit solved it."""

    ticket_id: TicketId
    act: UnitAct


@dataclass(frozen=True, slots=True)
class Told:
    """Progress, return or extension: shown, without a change of state."""

    ticket_id: TicketId
    kind: str
    act: UnitAct


@dataclass(frozen=True, slots=True)
class Declined:
    """The desk declined it."""

    ticket_id: TicketId
    reason: str
    time: datetime


@dataclass(frozen=True, slots=True)
class DueTimeChanged:
    """The SLA service set, moved or cleared the due time of the resolution, or warns about it.

    Attributes:
        ticket_id: Ticket.
        kind: Kind of the event.
        due_time: Due, exclusive; None while there is none.
        time: Time of the event.
        cycle: Cycle of the clock: 0 for the submission, then the number of the reopening.
    """

    ticket_id: TicketId
    kind: str
    due_time: datetime | None
    time: datetime
    cycle: int = 0


Fact = Dispatched | SentToTriage | Accepted | SupplementRequested | Resolved | Told | Declined | DueTimeChanged


class UnknownTicket(LookupError):
    """A fact about a ticket that intake never stored."""


def follow_dispatch(uow: UnitOfWork, fact: Fact) -> None:
    """Apply one fact to its ticket; one that comes too late changes nothing.

    Raises:
        UnknownTicket: Intake never stored that ticket.
    """
    ticket = uow.tickets.get(fact.ticket_id)
    if ticket is None:
        raise UnknownTicket(fact.ticket_id)
    _apply(ticket, fact)


def _apply(ticket: Ticket, fact: Fact) -> None:
    match fact:
        case Dispatched(facts=facts):
            ticket.dispatched(facts)
        case SentToTriage(time=time, epoch=epoch):
            ticket.sent_to_triage(time, epoch)
        case Accepted(act=act):
            ticket.accepted(act)
        case SupplementRequested(act=act):
            ticket.supplement_requested(act)
        case Resolved(act=act):
            ticket.resolved(act)
        case Told(kind=kind, act=act):
            ticket.told(kind, act)
        case Declined(reason=reason, time=time):
            ticket.declined(reason, time)
        case DueTimeChanged(kind=kind, due_time=due_time, time=time, cycle=cycle):
            ticket.deadline(kind, due_time, time, cycle)
