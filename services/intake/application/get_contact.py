"""The unit that holds a ticket reads whom to call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.intake.domain.errors import NotLeadUnit, StateConflict, TicketNotFound
from services.intake.domain.types import OPEN, TicketState

if TYPE_CHECKING:
    from chassis.clock import Clock
    from services.intake.application.ports import UnitOfWork
    from services.intake.domain.ticket import Contact, Ticket
    from services.intake.domain.types import UnitCode

_HELD = OPEN | {TicketState.RESOLVED}


@dataclass(frozen=True, slots=True)
class GetContact:
    """Which ticket, and who asks."""

    unit: UnitCode
    reference: str


class GetContactHandler:
    """Shows contacts and records each look."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, uow: UnitOfWork, query: GetContact) -> tuple[Ticket, Contact]:
        """Return the contact; the look is recorded in the same transaction.

        Raises:
            TicketNotFound: There is none, or the unit has no part in it.
            NotLeadUnit: The unit helps but does not lead.
            StateConflict: The ticket is closed, withdrawn or declined.
        """
        found = uow.contacts.of_ticket_with(query.reference, query.unit)
        if found is None:
            raise TicketNotFound(query.reference)
        ticket, contact = found
        if ticket.lead_unit != query.unit:
            raise NotLeadUnit
        if ticket.state not in _HELD:
            raise StateConflict(ticket.state, sorted(_HELD))
        uow.contacts.record_look(ticket.ticket_id, query.unit, self._clock.now())
        return ticket, contact
