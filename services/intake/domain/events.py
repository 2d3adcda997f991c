"""What intake tells the others. No event carries a contact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from services.intake.domain.ticket import Rating, Ticket
    from services.intake.domain.types import TicketId


@dataclass(frozen=True, slots=True)
class TicketSubmitted:
    """A request was stored; `traceparent` is the trace of the call that brought it, if it has one of its own."""

    ticket: Ticket
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketSupplemented:
    """The enterprise added material."""

    ticket_id: TicketId
    text: str
    attachment_refs: tuple[str, ...]
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketWithdrawn:
    """The enterprise took its request back."""

    ticket_id: TicketId
    reason: str
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketRated:
    """The enterprise gave its view."""

    ticket_id: TicketId
    rating: Rating


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketReopened:
    """A resolved or closed ticket goes back to work."""

    ticket_id: TicketId
    reason: str
    reopen_count: int
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketClosed:
    """The ticket needs nothing more."""

    ticket_id: TicketId
    time: datetime


Event = TicketSubmitted | TicketSupplemented | TicketWithdrawn | TicketRated | TicketReopened | TicketClosed
