"""What every use case does that takes in a fact: judge, announce, keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from services.sla.application.ports import UnitOfWork
    from services.sla.domain.deadline import TicketDeadlines


def settle(uow: UnitOfWork, ticket: TicketDeadlines, at: datetime) -> None:
    """Judge a ticket by what is known now, announce what that changes, and keep it."""
    uow.announce(ticket.settle(uow.rules, at))
    uow.tickets.put(ticket)
