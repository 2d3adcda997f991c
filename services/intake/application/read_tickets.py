"""Read one ticket, or a list of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chassis.caller import Role
from services.intake.application.ports import TicketFilter
from services.intake.domain.errors import TicketNotFound
from services.intake.domain.types import PortalCode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from chassis.caller import Caller
    from services.intake.application.ports import UnitOfWork
    from services.intake.domain.ticket import Ticket
    from services.intake.domain.types import TicketId, TicketState


def portal_of(caller: Caller) -> PortalCode | None:
    """Return the portal that a caller is narrowed to; None for those who see every ticket."""
    return PortalCode(caller.subject) if caller.role is Role.PORTAL else None


@dataclass(frozen=True, slots=True)
class GetTicket:
    """Wanted: the ticket of an id or a number."""

    caller: Caller
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListTickets:
    """Wanted: a page of tickets, newest first, after a position."""

    caller: Caller
    uscc: str
    states: tuple[TicketState, ...]
    create_time_from: datetime | None
    create_time_until: datetime | None
    after: tuple[datetime, TicketId] | None
    size: int


def get_ticket(uow: UnitOfWork, query: GetTicket) -> Ticket:
    """Return a ticket.

    Raises:
        TicketNotFound: There is none, or it is not the caller's.
    """
    ticket = uow.tickets.find(query.reference, portal_of(query.caller))
    if ticket is None:
        raise TicketNotFound(query.reference)
    return ticket


def list_tickets(uow: UnitOfWork, query: ListTickets) -> Sequence[Ticket]:
    """Return a page of the tickets that the caller may see."""
    wanted = TicketFilter(
        portal=portal_of(query.caller),
        uscc=query.uscc,
        states=query.states,
        create_time_from=query.create_time_from,
        create_time_until=query.create_time_until,
    )
    return uow.tickets.page(wanted, query.after, query.size)
