"""Compute anew what another calendar computed, or could not compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.sla.application.ports import ANY, Chosen
from services.sla.application.settle import settle

if TYPE_CHECKING:
    from datetime import datetime

    from services.sla.application.ports import UnitOfWork


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyCalendar:
    """The calendar may have changed.

    Attributes:
        now: The present.
        size: Most tickets to compute.
        chosen: Filter of the tickets.
    """

    now: datetime
    size: int
    chosen: Chosen = ANY


def activate_calendar(uow: UnitOfWork, now: datetime) -> None:
    """Put the calendar of this transaction's rules in force for all replicas."""
    uow.calendars.activate(uow.rules.calendar_version, now)


def apply_calendar(uow: UnitOfWork, command: ApplyCalendar) -> int:
    """Compute open deadlines anew; returns how many tickets were computed, so that the caller goes on while there are more.

    Only a replica that has the calendar which was put in force last does so: while a new one is rolled out, replicas with the old one
    must not compute back what the others have computed.
    """
    version = uow.rules.calendar_version
    if uow.calendars.active() != version:
        return 0
    tickets = uow.tickets.lock_computed_otherwise(version, command.size, chosen=command.chosen)
    for ticket in tickets:
        settle(uow, ticket, command.now)
    return len(tickets)
