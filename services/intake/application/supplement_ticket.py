"""The enterprise adds the material that a unit asked for."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.intake.application.ports import KnownRequest, RequestKey
from services.intake.domain.errors import RequestIdReused, TicketNotFound
from services.intake.domain.events import TicketSupplemented

if TYPE_CHECKING:
    from chassis.clock import Clock
    from services.intake.application.ports import UnitOfWork
    from services.intake.domain.ticket import Ticket
    from services.intake.domain.types import PortalCode, RequestId


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplementTicket:
    """Material for a ticket, whose fields were checked."""

    portal: PortalCode
    reference: str
    request_id: RequestId
    text: str
    attachment_refs: tuple[str, ...]

    def fingerprint(self) -> bytes:
        """SHA-256 of its content."""
        return hashlib.sha256(json.dumps([self.text, *self.attachment_refs], ensure_ascii=False).encode()).digest()


@dataclass(frozen=True, slots=True)
class Supplemented:
    """The ticket with its material.

    Attributes:
        ticket: Current state of the ticket.
        duplicate: True if the request was a repetition: nothing was added.
    """

    ticket: Ticket
    duplicate: bool


class SupplementTicketHandler:
    """Adds material, once for each request id."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, uow: UnitOfWork, command: SupplementTicket) -> Supplemented:
        """Add the material, or return the ticket as it is if this request was carried out already.

        Raises:
            TicketNotFound: There is none, or it is not the portal's.
            RequestIdReused: Other material came under this request id.
            StateConflict: No unit asked for material.
        """
        ticket = uow.tickets.find_for_update(command.reference, command.portal)
        if ticket is None:
            raise TicketNotFound(command.reference)
        key = RequestKey(command.portal, ticket.ticket_id, command.request_id)
        mine = KnownRequest(command.fingerprint(), ticket.ticket_id)
        known = uow.requests.claim({key: mine}).get(key)
        if known is not None:
            if known.fingerprint != mine.fingerprint:
                raise RequestIdReused(command.request_id)
            return Supplemented(ticket, duplicate=True)
        now = self._clock.now()
        ticket.supplement(command.text, now)
        uow.tell(
            TicketSupplemented(
                ticket_id=ticket.ticket_id,
                text=command.text,
                attachment_refs=command.attachment_refs,
                time=now,
            ),
        )
        return Supplemented(ticket, duplicate=False)
