"""Give a ticket more workdays."""

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
class ExtendClock:
    """The desk granted an extension.

    Attributes:
        ticket_id: Whose.
        epoch: The dispatch epoch that it belongs to.
        workdays: How many more, 1 or more.
        decide_time: When; it counts only if that is before the due time.
    """

    ticket_id: TicketId
    epoch: Epoch
    workdays: int
    decide_time: datetime


def extend_clock(uow: UnitOfWork, command: ExtendClock) -> None:
    """Move the resolution's due time."""
    ticket = uow.tickets.get(command.ticket_id)
    ticket.granted(command.epoch, command.workdays, command.decide_time)
    settle(uow, ticket, command.decide_time)
