"""The enterprise gives its view of the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.intake.domain.errors import TicketNotFound
from services.intake.domain.events import TicketClosed, TicketRated
from services.intake.domain.ticket import Rating

if TYPE_CHECKING:
    from chassis.clock import Clock
    from services.intake.application.ports import UnitOfWork
    from services.intake.domain.ticket import Ticket
    from services.intake.domain.types import PortalCode, Solved


@dataclass(frozen=True, slots=True, kw_only=True)
class RateTicket:
    """Which ticket, and the view; `score` is 1–5."""

    portal: PortalCode
    reference: str
    solved: Solved
    score: int
    comment: str


class RateTicketHandler:
    """Records ratings."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, uow: UnitOfWork, command: RateTicket) -> Ticket:
        """Record a rating; it replaces an earlier one.

        Raises:
            TicketNotFound: There is none, or it is not the portal's.
            StateConflict: There is no result yet.
        """
        ticket = uow.tickets.find_for_update(command.reference, command.portal)
        if ticket is None:
            raise TicketNotFound(command.reference)
        now = self._clock.now()
        rating = Rating(solved=command.solved, score=command.score, comment=command.comment, rate_time=now)
        closes = ticket.rate(rating)
        uow.tell(TicketRated(ticket_id=ticket.ticket_id, rating=rating))
        if closes:
            uow.tell(TicketClosed(ticket_id=ticket.ticket_id, time=now))
        return ticket
