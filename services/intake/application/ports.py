"""What the use cases need from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import date, datetime

    from chassis.caller import Caller
    from services.intake.domain.events import Event
    from services.intake.domain.ticket import Change, Contact, Enterprise, Ticket
    from services.intake.domain.types import DistrictCode, PortalCode, RequestId, TicketId, TicketState, UnitCode, Uscc, Version


@dataclass(frozen=True, slots=True)
class RequestKey:
    """What a portal's request is recognised by.

    Attributes:
        portal: Whose request.
        scope: `submit`, or the id of the ticket that it is about.
        request_id: Chosen by the portal.
    """

    portal: PortalCode
    scope: str
    request_id: RequestId


@dataclass(frozen=True, slots=True)
class KnownRequest:
    """A request that was carried out before.

    Attributes:
        fingerprint: SHA-256 of the request's content.
        ticket_id: The ticket that it made or changed.
    """

    fingerprint: bytes
    ticket_id: TicketId


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a ticket stands when somebody begins to watch it."""

    ticket_id: TicketId
    version: Version
    state: TicketState


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketFilter:
    """Which tickets to list; None and empty mean all."""

    portal: PortalCode | None
    uscc: str
    states: tuple[TicketState, ...]
    create_time_from: datetime | None
    create_time_until: datetime | None


class Requests(Protocol):
    """Requests that were carried out, for idempotency."""

    def claim(self, wanted: Mapping[RequestKey, KnownRequest]) -> Mapping[RequestKey, KnownRequest]:
        """Claim keys in this transaction; return those that others hold, with what they stand for.

        A key that another open transaction claims is waited for.
        """
        ...


class Tickets(Protocol):
    """Tickets with their changes. What was got for update is locked until the transaction ends, and written back on commit."""

    def add(self, ticket: Ticket, contact: Contact) -> None:
        """Add a new ticket."""
        ...

    def lock_many(self, ticket_ids: Sequence[TicketId]) -> None:
        """Read and lock several tickets by one statement, in the order of their ids."""
        ...

    def get(self, ticket_id: TicketId) -> Ticket | None:
        """Return a locked ticket, or None."""
        ...

    def find(self, reference: str, portal: PortalCode | None) -> Ticket | None:
        """Return the ticket of an id or a number, without lock; None if there is none, or it is not that portal's."""
        ...

    def find_for_update(self, reference: str, portal: PortalCode) -> Ticket | None:
        """Return the portal's ticket of an id or a number, locked, or None."""
        ...

    def page(self, wanted: TicketFilter, after: tuple[datetime, TicketId] | None, size: int) -> Sequence[Ticket]:
        """Return up to `size` tickets, newest first, after a position."""
        ...

    def resolved_before(
        self,
        limit: datetime,
        size: int,
        *,
        without: Collection[TicketId] = (),
        only: TicketId | None = None,
    ) -> Sequence[Ticket]:
        """Return up to `size` tickets, locked, that are RESOLVED since before `limit` and not rated as unsolved.

        Locked rows and tickets in `without` are omitted. With `only`, that ticket alone is returned, if it is due.
        """
        ...


class Contacts(Protocol):
    """Contacts, and the record of who looked at them."""

    def of_ticket_with(self, reference: str, unit: UnitCode) -> tuple[Ticket, Contact] | None:
        """Return ticket and contact if the unit leads the ticket or helps with it, else None."""
        ...

    def record_look(self, ticket_id: TicketId, unit: UnitCode, at: datetime) -> None:
        """Record that a unit saw the contact."""
        ...


class Numbers(Protocol):
    """Sequences of ticket numbers."""

    def take(self, wanted: Mapping[tuple[date, DistrictCode], int]) -> Mapping[tuple[date, DistrictCode], int]:
        """Take so many numbers of each day and district; returns the last taken of each."""
        ...


class Enterprises(Protocol):
    """The registry of enterprises."""

    def districts(self, usccs: Sequence[Uscc]) -> Mapping[Uscc, DistrictCode]:
        """Return where enterprises are registered; those that the registry does not know are left out."""
        ...

    def put(self, enterprises: Sequence[Enterprise]) -> None:
        """Add enterprises or replace what is known of them."""
        ...


class UnitOfWork(Protocol):
    """One transaction over all of intake's stores; whoever opened it commits it."""

    @property
    def requests(self) -> Requests: ...  # noqa: D102
    @property
    def tickets(self) -> Tickets: ...  # noqa: D102
    @property
    def contacts(self) -> Contacts: ...  # noqa: D102
    @property
    def numbers(self) -> Numbers: ...  # noqa: D102
    @property
    def enterprises(self) -> Enterprises: ...  # noqa: D102

    def tell(self, event: Event) -> None:
        """Publish an event if and only if the transaction commits."""
        ...


class ChangeLog(Protocol):
    """Changes of tickets, for those who watch."""

    def standing_of(self, reference: str, caller: Caller) -> Standing | None:
        """Return where a ticket stands that the caller may see, or None."""
        ...

    def since(self, positions: Mapping[TicketId, Version], most: int) -> Sequence[Change]:
        """Return changes after the position of each ticket, each ticket's in order, at most `most` in all."""
        ...
