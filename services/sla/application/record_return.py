"""Take the ticket from a unit that sent it back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.sla.application.settle import settle

if TYPE_CHECKING:
    from datetime import datetime

    from services.sla.application.ports import UnitOfWork
    from services.sla.domain.deadline import TicketId
    from services.sla.domain.facts import Epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordReturn:
    """The lead unit sent the ticket back.

    Attributes:
        ticket_id: Whose.
        epoch: The dispatch epoch that it belongs to.
        return_time: When.
    """

    ticket_id: TicketId
    epoch: Epoch
    return_time: datetime


def record_return(uow: UnitOfWork, command: RecordReturn) -> None:
    """End the unit's lead, and a pause that it had asked for."""
    ticket = uow.tickets.get(command.ticket_id)
    ticket.returned(command.epoch, command.return_time)
    settle(uow, ticket, command.return_time)
