"""Stop the resolution clock: the ticket was resolved."""

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
class FinishClock:
    """The lead unit resolved the ticket.

    Attributes:
        ticket_id: Whose.
        epoch: The dispatch epoch that it belongs to.
        resolve_time: When; in time if that is before the due time.
    """

    ticket_id: TicketId
    epoch: Epoch
    resolve_time: datetime


def finish_clock(uow: UnitOfWork, command: FinishClock) -> None:
    """Judge the resolution."""
    ticket = uow.tickets.get(command.ticket_id)
    ticket.resolved(command.epoch, command.resolve_time)
    settle(uow, ticket, command.resolve_time)
