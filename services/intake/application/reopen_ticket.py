"""The enterprise sends a resolved ticket back to work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.intake.domain.errors import TicketNotFound
from services.intake.domain.events import TicketReopened

if TYPE_CHECKING:
    from chassis.clock import Clock
    from services.intake.application.ports import UnitOfWork
    from services.intake.domain.ticket import Ticket
    from services.intake.domain.types import PortalCode


@dataclass(frozen=True, slots=True, kw_only=True)
class ReopenTicket:
    """Which ticket, and what is still wrong."""

    portal: PortalCode
    reference: str
    reason: str


class ReopenTicketHandler:
    """Reopens tickets."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, uow: UnitOfWork, command: ReopenTicket) -> Ticket:
        """Reopen a ticket.

        Raises:
            TicketNotFound: There is none, or it is not the portal's.
            StateConflict: It is not resolved.
            ReopenWindowOver: It was resolved more than 30 days ago.
        """
        ticket = uow.tickets.find_for_update(command.reference, command.portal)
        if ticket is None:
            raise TicketNotFound(command.reference)
        now = self._clock.now()
        ticket.reopen(command.reason, now)
        uow.tell(
            TicketReopened(
                ticket_id=ticket.ticket_id,
                reason=command.reason,
                reopen_count=ticket.reopen_count,
                time=now,
            ),
        )
        return ticket
