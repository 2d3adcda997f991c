"""Pause the resolution clock: the enterprise must add material."""

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
class PauseClock:
    """The lead unit asked the enterprise for material.

    Attributes:
        ticket_id: Whose.
        epoch: The dispatch epoch that it belongs to.
        request_time: When.
    """

    ticket_id: TicketId
    epoch: Epoch
    request_time: datetime


def pause_clock(uow: UnitOfWork, command: PauseClock) -> None:
    """Let the resolution clock stand still."""
    ticket = uow.tickets.get(command.ticket_id)
    ticket.asked(command.epoch, command.request_time)
    settle(uow, ticket, command.request_time)
