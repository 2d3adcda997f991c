"""Resume the resolution clock: the enterprise added material."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.sla.application.settle import settle

if TYPE_CHECKING:
    from datetime import datetime

    from services.sla.application.ports import UnitOfWork
    from services.sla.domain.deadline import TicketId


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeClock:
    """The enterprise added material.

    Attributes:
        ticket_id: Whose.
        supplement_time: When.
    """

    ticket_id: TicketId
    supplement_time: datetime


def resume_clock(uow: UnitOfWork, command: ResumeClock) -> None:
    """Let the resolution clock run again."""
    ticket = uow.tickets.get(command.ticket_id)
    ticket.answered(command.supplement_time)
    settle(uow, ticket, command.supplement_time)
