"""Close tickets whose result nobody disputed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.intake.domain.events import TicketClosed
from services.intake.domain.ticket import FOLLOW_UP_WINDOW

if TYPE_CHECKING:
    from chassis.clock import Clock
    from services.intake.application.ports import UnitOfWork

_BATCH = 500


class CloseResolved:
    """Closes tickets that have been RESOLVED for 7 days."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, uow: UnitOfWork) -> int:
        """Close up to 500 tickets; returns how many."""
        now = self._clock.now()
        tickets = uow.tickets.resolved_before(now - FOLLOW_UP_WINDOW, _BATCH)
        for ticket in tickets:
            ticket.close(now)
            uow.tell(TicketClosed(ticket_id=ticket.ticket_id, time=now))
        return len(tickets)
