"""Start the clocks of a ticket: it was submitted or reopened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.sla.application.settle import settle

if TYPE_CHECKING:
    from datetime import datetime

    from services.sla.application.ports import UnitOfWork
    from services.sla.domain.deadline import TicketId
    from services.sla.domain.facts import Cycle, PortalCode


@dataclass(frozen=True, slots=True, kw_only=True)
class StartClock:
    """A ticket was submitted or reopened.

    Attributes:
        ticket_id: Whose.
        cycle: 0 for the submission, then the number of the reopening.
        start_time: When.
        portal: Who submitted it; None for a reopening.
    """

    ticket_id: TicketId
    cycle: Cycle
    start_time: datetime
    portal: PortalCode | None = None


def start_clock(uow: UnitOfWork, command: StartClock) -> None:
    """Start the ticket's dispatch clock and resolution clock."""
    ticket = uow.tickets.get(command.ticket_id)
    ticket.started(command.cycle, command.start_time, portal=command.portal)
    settle(uow, ticket, command.start_time)
