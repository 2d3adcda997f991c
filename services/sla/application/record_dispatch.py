"""Stop the dispatch clock: a lead unit was given the ticket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.sla.application.settle import settle

if TYPE_CHECKING:
    from datetime import datetime

    from services.sla.application.ports import UnitOfWork
    from services.sla.domain.deadline import TicketId
    from services.sla.domain.facts import Epoch, UnitCode


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordDispatch:
    """A lead unit was given the ticket.

    Attributes:
        ticket_id: Whose.
        epoch: The dispatch epoch that it belongs to.
        unit: Which unit.
        dispatch_time: When that was decided.
        push_time: When it was sure to lie on the unit's topic; by this the minute is judged.
    """

    ticket_id: TicketId
    epoch: Epoch
    unit: UnitCode
    dispatch_time: datetime
    push_time: datetime


def record_dispatch(uow: UnitOfWork, command: RecordDispatch) -> None:
    """Judge the minute, and keep who leads."""
    ticket = uow.tickets.get(command.ticket_id)
    ticket.dispatched(command.epoch, command.unit, command.dispatch_time, command.push_time)
    settle(uow, ticket, command.push_time)
