"""Let time pass: announce what has come near or is past due."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.sla.application.ports import ANY, Chosen

if TYPE_CHECKING:
    from datetime import datetime

    from services.sla.application.ports import UnitOfWork


@dataclass(frozen=True, slots=True, kw_only=True)
class TickDue:
    """Time has passed.

    Attributes:
        known_until: Every message that was sent before this instant has been taken in.
        now: The present.
        size: Most tickets to look at.
        chosen: Filter of the tickets.
    """

    known_until: datetime
    now: datetime
    size: int
    chosen: Chosen = ANY


def tick_due(uow: UnitOfWork, command: TickDue) -> int:
    """Judge tickets whose time has come; returns how many were looked at, so that the caller goes on while there are more."""
    tickets = uow.tickets.lock_due(command.known_until, command.size, chosen=command.chosen)
    for ticket in tickets:
        uow.announce(ticket.tick(uow.rules, known_until=command.known_until, now=command.now))
        uow.tickets.put(ticket)
    return len(tickets)
