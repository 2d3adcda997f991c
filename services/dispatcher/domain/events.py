"""What happened to a dispatch. Adapters turn these into messages and into rows of history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from services.dispatcher.domain.values import (
        Assignment,
        CancelReason,
        DeadlineChange,
        DecisionRecord,
        Extension,
        KeepEvidence,
        ReturnReason,
        Supplement,
        Ticket,
        Triage,
        UnitCode,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadAssigned:
    """A lead unit has the ticket.

    Attributes:
        ticket: The ticket.
        assignment: What was assigned.
        decision: Why.
        final: True if it cannot be returned.
        supplements: Material that the enterprise added before and that this unit has not seen.
        due_time: When the resolution is due, if known.
        time: When.
    """

    ticket: Ticket
    assignment: Assignment
    decision: DecisionRecord
    final: bool
    supplements: tuple[Supplement, ...]
    due_time: datetime | None
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadReleased:
    """A ticket is no longer with the units that had it.

    Attributes:
        ticket: The ticket.
        assignment: What ended.
        reason: Why.
        note: Words for people.
        time: When.
    """

    ticket: Ticket
    assignment: Assignment
    reason: CancelReason
    note: str
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SentToTriage:
    """The desk has to decide."""

    ticket: Ticket
    triage: Triage
    decision: DecisionRecord
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class GuessesImproved:
    """The desk has better guesses for a ticket that waits; nothing else changed."""

    ticket: Ticket
    decision: DecisionRecord
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadAccepted:
    """The lead unit signed for it."""

    ticket: Ticket
    epoch: int
    unit: UnitCode
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadReturned:
    """The lead unit sent it back."""

    ticket: Ticket
    epoch: int
    unit: UnitCode
    reason: ReturnReason
    suggested_unit: str
    note: str
    bounce_count: int
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplementAsked:
    """The enterprise must add material."""

    ticket: Ticket
    epoch: int
    unit: UnitCode
    question: str
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplementArrived:
    """The enterprise added material for the units that have the ticket."""

    ticket: Ticket
    assignment: Assignment
    supplement: Supplement
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressMade:
    """The unit tells how far it is."""

    ticket: Ticket
    epoch: int
    unit: UnitCode
    note: str
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionAsked:
    """The unit asks for more time."""

    ticket: Ticket
    epoch: int
    unit: UnitCode
    extension: Extension
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionSettled:
    """The desk decided about more time; no workdays if refused."""

    ticket: Ticket
    epoch: int
    unit: UnitCode
    granted: bool
    workdays: int
    note: str
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadResolved:
    """The unit solved it."""

    ticket: Ticket
    epoch: int
    unit: UnitCode
    resolution: str
    attachment_refs: tuple[str, ...]
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketDeclined:
    """The desk declined it."""

    ticket: Ticket
    decision: DecisionRecord
    reason: str
    right_channel: str
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineMoved:
    """The lead unit shall know what became of the due time."""

    ticket: Ticket
    epoch: int
    unit: UnitCode
    change: DeadlineChange
    due_time: datetime | None
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepingLearned:
    """A unit kept or returned a ticket of a class of its own will."""

    evidence: KeepEvidence


Event = (
    LeadAssigned
    | LeadReleased
    | SentToTriage
    | GuessesImproved
    | LeadAccepted
    | LeadReturned
    | SupplementAsked
    | SupplementArrived
    | ProgressMade
    | ExtensionAsked
    | ExtensionSettled
    | LeadResolved
    | TicketDeclined
    | DeadlineMoved
    | KeepingLearned
)
