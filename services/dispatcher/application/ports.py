"""What the use cases need from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from chassis.clock import Clock
    from services.dispatcher.domain.choosing import Chooser
    from services.dispatcher.domain.dispatch import Dispatch
    from services.dispatcher.domain.values import ClassCode, DecisionRecord, KeepCount, State, TicketId, UnitCode


class Dispatches(Protocol):
    """Dispatches. What was got is locked until the transaction ends, and written back on commit with what happened to it."""

    def get(self, ticket_id: TicketId) -> Dispatch | None:
        """Return the dispatch of a ticket, or None if nothing was ever heard of it."""
        ...

    def of_unit(self, ticket_id: TicketId, unit: UnitCode) -> Dispatch | None:
        """Return the dispatch of a ticket if the unit leads, led or helps with it, else None."""
        ...

    def add(self, dispatch: Dispatch) -> None:
        """Add the dispatch of a ticket of which nothing was heard before."""
        ...

    def due(self, now: datetime, size: int, *, without: Collection[TicketId] = (), only: TicketId | None = None) -> Sequence[Dispatch]:
        """Return up to `size` dispatches whose next action is due, longest overdue first; locked rows are skipped.

        Tickets in `without` are omitted. With `only`, that ticket alone is returned, if it is due.
        """
        ...

    def decision_of(self, dispatch: Dispatch) -> DecisionRecord | None:
        """Return the record of the decision that is in force, or None if there was none yet."""
        ...


@dataclass(frozen=True, slots=True)
class KnownRequest:
    """An earlier request of a unit.

    Attributes:
        fingerprint: SHA-256 of its content; None if a release without fingerprints took it.
        refused: True if it was refused, so that it had no effect.
    """

    fingerprint: bytes | None
    refused: bool

    def is_same(self, fingerprint: bytes | None) -> bool:
        """Return whether a request with this fingerprint repeats it; a stored request without a fingerprint counts as the same."""
        return self.fingerprint in {None, fingerprint}


class Requests(Protocol):
    """Requests of units, receipts and RPCs alike, by unit and id."""

    def claim(self, key: str, request: KnownRequest) -> KnownRequest | None:
        """Claim an id in this transaction; return the earlier request if the id was claimed before.

        If another open transaction has claimed the id, the call waits for it.
        """
        ...

    def note(self, requests: Mapping[str, KnownRequest]) -> None:
        """Store fingerprint and outcome of claimed ids."""
        ...


class UnitOfWork(Protocol):
    """One transaction; whoever opened it commits it."""

    @property
    def requests(self) -> Requests:
        """Requests of units."""
        ...

    @property
    def dispatches(self) -> Dispatches:
        """Dispatches."""
        ...

    def experience(self) -> Mapping[tuple[UnitCode, ClassCode], KeepCount]:
        """Return what units kept and returned so far; may be some seconds old."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """What every use case works with.

    Attributes:
        clock: Tells the time.
        chooser: Chooses units, by the catalogue and the policy in force.
        new_id: Makes ids of decisions.
    """

    clock: Clock
    chooser: Chooser
    new_id: Callable[[], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchFilter:
    """Which dispatches to list.

    Attributes:
        unit: Only those that it leads or helps with; None for all.
        states: Only these; empty for all.
    """

    unit: UnitCode | None
    states: tuple[State, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a page of a list ended."""

    time: datetime
    ticket_id: TicketId


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A dispatch as it was read, with its decision.

    Attributes:
        dispatch: The dispatch; not locked, and nothing that is done to it is written back.
        decision: The decision in force; None before the first.
        position: Its place in the list that it was read from.
    """

    dispatch: Dispatch
    decision: DecisionRecord | None
    position: Position


class Reading(Protocol):
    """Reads dispatches without locking them."""

    def find(self, reference: str, unit: UnitCode | None) -> Seen | None:
        """Return the dispatch of a ticket's id or number, or None; with `unit` only if that unit leads or helps with it."""
        ...

    def page(self, wanted: DispatchFilter, after: Position | None, size: int) -> Sequence[Seen]:
        """Return up to `size` dispatches, newest assignment first, after a position."""
        ...

    def triage(self, after: Position | None, size: int) -> Sequence[Seen]:
        """Return up to `size` dispatches that wait for the desk, longest wait first, after a position."""
        ...
