"""The enterprise takes its request back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.intake.domain.errors import TicketNotFound
from services.intake.domain.events import TicketWithdrawn

if TYPE_CHECKING:
    from chassis.clock import Clock
    from services.intake.application.ports import UnitOfWork
    from services.intake.domain.ticket import Ticket
    from services.intake.domain.types import PortalCode


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawTicket:
    """Which ticket, and why."""

    portal: PortalCode
    reference: str
    reason: str


class WithdrawTicketHandler:
    """Withdraws tickets."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, uow: UnitOfWork, command: WithdrawTicket) -> Ticket:
        """Withdraw a ticket; one that is withdrawn already stays as it is.

        Raises:
            TicketNotFound: There is none, or it is not the portal's.
            StateConflict: It is resolved, closed or declined.
        """
        ticket = uow.tickets.find_for_update(command.reference, command.portal)
        if ticket is None:
            raise TicketNotFound(command.reference)
        now = self._clock.now()
        if ticket.withdraw(command.reason, now):
            uow.tell(TicketWithdrawn(ticket_id=ticket.ticket_id, reason=command.reason, time=now))
        return ticket
