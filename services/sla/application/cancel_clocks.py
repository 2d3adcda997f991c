"""Stop all clocks: the ticket was withdrawn or declined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.sla.application.settle import settle

if TYPE_CHECKING:
    from datetime import datetime

    from services.sla.application.ports import UnitOfWork
    from services.sla.domain.deadline import TicketId


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelClocks:
    """The ticket was withdrawn or declined.

    Attributes:
        ticket_id: Whose.
        cancel_time: When.
    """

    ticket_id: TicketId
    cancel_time: datetime


def cancel_clocks(uow: UnitOfWork, command: CancelClocks) -> None:
    """Cancel what is still open and was not late by then."""
    ticket = uow.tickets.get(command.ticket_id)
    ticket.cancelled(command.cancel_time)
    settle(uow, ticket, command.cancel_time)
