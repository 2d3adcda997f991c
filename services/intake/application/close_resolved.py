"""Close tickets whose result nobody disputed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.intake.domain.events import TicketClosed
from services.intake.domain.ticket import FOLLOW_UP_WINDOW

if TYPE_CHECKING:
    from collections.abc import Collection

    from chassis.clock import Clock
    from services.intake.application.ports import UnitOfWork
    from services.intake.domain.types import TicketId

CLOSE_BATCH = 500


class CloseResolved:
    """Closes tickets that have been RESOLVED for 7 days."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(
        self,
        uow: UnitOfWork,
        size: int = CLOSE_BATCH,
        *,
        without: Collection[TicketId] = (),
        only: TicketId | None = None,
    ) -> int:
        """Close up to `size` due tickets; return how many were closed.

        Tickets in `without` are omitted. With `only`, that ticket alone is closed, if it is due.
        """
        now = self._clock.now()
        tickets = uow.tickets.resolved_before(now - FOLLOW_UP_WINDOW, size, without=without, only=only)
        for ticket in tickets:
            ticket.close(now)
            uow.tell(TicketClosed(ticket_id=ticket.ticket_id, time=now))
        return len(tickets)
