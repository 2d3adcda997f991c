"""The ticket and what may happen to it.

    SUBMITTED ─► DISPATCHED ─► ACCEPTED ─► RESOLVED ─► CLOSED
        │  ▲         │  ▲          │           │          │
        ▼  └─reopen──┼──┼──────────┼───────────┴──────────┘
    AWAITING_TRIAGE ─┘  └─ AWAITING_SUPPLEMENT
    any open state ─► WITHDRAWN (enterprise) or DECLINED (desk)

What the dispatcher tells may be late: a final state stays, and what belongs to an older epoch is not applied.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from services.intake.domain.errors import ReopenWindowOver, StateConflict
from services.intake.domain.types import OPEN, Channel, DistrictCode, Solved, TicketState, UnitCode, Version

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from services.intake.domain.types import PortalCode, TicketId, TicketNumber, Uscc

REOPEN_WINDOW = timedelta(days=30)
FOLLOW_UP_WINDOW = timedelta(days=7)
_WARNINGS = frozenset({"due_time_near", "due_time_passed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Enterprise:
    """Whose request it is.

    Attributes:
        uscc: Credit code.
        name: Registered name.
        district: Where it is registered; empty if not known.
    """

    uscc: Uscc
    name: str
    district: DistrictCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """Whom to call. Personal data."""

    name: str = field(repr=False)
    phone: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """The enterprise's view of the result; `score` is 1–5."""

    solved: Solved
    score: int
    comment: str
    rate_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of a ticket, for those who watch it."""

    ticket_id: TicketId
    version: Version
    state: TicketState
    occur_time: datetime
    kind: str
    unit: UnitCode | None
    note: str


@dataclass(slots=True, kw_only=True)
class Ticket:
    """One request of one enterprise on its way to a solution. Every method that changes it leaves one `Change` in `changes`."""

    ticket_id: TicketId
    number: TicketNumber
    portal: PortalCode
    enterprise: Enterprise
    text: str
    channel: Channel
    district: DistrictCode
    confidential: bool
    create_time: datetime
    state: TicketState = TicketState.SUBMITTED
    version: Version = Version(0)  # noqa: RUF009 - a number
    update_time: datetime
    due_time: datetime | None = None
    lead_unit: UnitCode | None = None
    co_handler_units: tuple[UnitCode, ...] = ()
    class_code: str | None = None
    dispatch_epoch: int = 0
    supplement_question: str = ""
    resolution: str = ""
    resolve_time: datetime | None = None
    decline_reason: str = ""
    rating: Rating | None = None
    reopen_count: int = 0
    changes: list[Change] = field(default_factory=list, repr=False)

    def submitted(self) -> None:
        """Record the submission as the first change."""
        self._record("submitted", self.create_time)

    # What the enterprise does.

    def supplement(self, text: str, now: datetime) -> None:
        """Add the material that the unit asked for.

        Raises:
            StateConflict: Nothing was asked for.
        """
        self._require({TicketState.AWAITING_SUPPLEMENT})
        self.state = TicketState.ACCEPTED
        self._record("supplemented", now, note=text)

    def withdraw(self, reason: str, now: datetime) -> bool:
        """Take the request back; False if it was taken back already.

        Raises:
            StateConflict: It is resolved, closed or declined.
        """
        if self.state is TicketState.WITHDRAWN:
            return False
        self._require(OPEN)
        self.state = TicketState.WITHDRAWN
        self.due_time = None
        self._record("withdrawn", now, note=reason)
        return True

    def rate(self, rating: Rating) -> bool:
        """Record the enterprise's view; True if this closes the ticket.

        Raises:
            StateConflict: There is no result yet.
        """
        self._require({TicketState.RESOLVED, TicketState.CLOSED})
        closes = self.state is TicketState.RESOLVED and rating.solved is not Solved.NO
        if closes:
            self.state = TicketState.CLOSED
        self.rating = rating
        self._record("rated", rating.rate_time, note=rating.comment)
        return closes

    def reopen(self, reason: str, now: datetime) -> None:
        """Send it back to work.

        Raises:
            StateConflict: It is not resolved.
            ReopenWindowOver: It was resolved more than 30 days ago.
        """
        self._require({TicketState.RESOLVED, TicketState.CLOSED})
        if self.resolve_time is not None and now >= self.resolve_time + REOPEN_WINDOW:
            raise ReopenWindowOver(self.resolve_time + REOPEN_WINDOW)
        self.state = TicketState.SUBMITTED
        self._leave_units()
        self.due_time = None
        self.reopen_count += 1
        self.rating = None
        self.resolution = ""
        self.resolve_time = None
        self._record("reopened", now, note=reason)

    def close(self, now: datetime) -> None:
        """Close it because nobody disputed the result within the follow-up window.

        Raises:
            StateConflict: It is not resolved.
        """
        self._require({TicketState.RESOLVED})
        self.state = TicketState.CLOSED
        self._record("closed", now)

    # What the dispatcher and the SLA service tell. None of these raises: what comes too late changes nothing.

    def dispatched(self, dispatch: DispatchFacts) -> None:
        """A unit leads it under a new epoch."""
        if self.state not in OPEN or dispatch.epoch <= self.dispatch_epoch:
            return
        self.state = TicketState.DISPATCHED
        self.dispatch_epoch = dispatch.epoch
        self.lead_unit = dispatch.lead_unit
        self.co_handler_units = dispatch.co_handler_units
        self.class_code = dispatch.class_code
        self._record("dispatched", dispatch.time, unit=dispatch.lead_unit, note=dispatch.explanation)

    def sent_to_triage(self, now: datetime, epoch: int | None = None) -> None:
        """The desk decides.

        Args:
            now: When.
            epoch: Epoch of the previous assignment, None if unknown. An outdated event changes nothing.
        """
        repeated = epoch == self.dispatch_epoch and self.state is TicketState.AWAITING_TRIAGE
        outdated = epoch is not None and epoch < self.dispatch_epoch
        if self.state in OPEN and not repeated and not outdated:
            self.state = TicketState.AWAITING_TRIAGE
            self._leave_units()
            self._record("sent_to_triage", now)

    def accepted(self, act: UnitAct) -> None:
        """The lead unit signed for it."""
        if self._is_current(act) and self.state is TicketState.DISPATCHED:
            self.state = TicketState.ACCEPTED
            self._record("accepted", act.time, unit=act.unit)

    def supplement_requested(self, act: UnitAct) -> None:
        """The lead unit asks for material."""
        if self._is_current(act) and self.state in {TicketState.DISPATCHED, TicketState.ACCEPTED}:
            self.state = TicketState.AWAITING_SUPPLEMENT
            self.supplement_question = act.note
            self._record("supplement_requested", act.time, unit=act.unit, note=act.note)

    def resolved(self, act: UnitAct) -> None:
        """The lead unit solved it."""
        if self._is_current(act) and self.state in OPEN:
            self.state = TicketState.RESOLVED
            self.resolution = act.note
            self.resolve_time = act.time
            self._record("resolved", act.time, unit=act.unit, note=act.note)

    def told(self, kind: str, act: UnitAct) -> None:
        """A unit or the desk did something that leaves the state as it is: progress, return, extension."""
        if self._is_current(act) and self.state in OPEN:
            self._record(kind, act.time, unit=act.unit, note=act.note)

    def declined(self, reason: str, now: datetime) -> None:
        """The desk declined it."""
        if self.state in OPEN:
            self.state = TicketState.DECLINED
            self.decline_reason = reason
            self.due_time = None
            self._record("declined", now, note=reason)

    def deadline(self, kind: str, due_time: datetime | None, now: datetime, cycle: int = 0) -> None:
        """The resolution's due time was set, moved, cleared by a pause, comes near or has passed.

        Args:
            kind: Kind of the event; a warning does not change the due time.
            due_time: Due, exclusive; None while there is none.
            now: Time of the event.
            cycle: Cycle of the clock; an event of an earlier cycle changes nothing.
        """
        if self.state in OPEN and cycle >= self.reopen_count:
            if kind not in _WARNINGS:
                self.due_time = due_time
            self._record(kind, now)

    def _is_current(self, act: UnitAct) -> bool:
        # Between a reopening and the next dispatch, the latest epoch belongs to the previous cycle.
        awaits_dispatch = self.reopen_count > 0 and self.lead_unit is None
        return act.epoch == self.dispatch_epoch and not awaits_dispatch

    def _leave_units(self) -> None:
        """Nobody holds it now, so that nobody may see its contact."""
        self.lead_unit = None
        self.co_handler_units = ()

    def _require(self, allowed: Collection[TicketState]) -> None:
        if self.state not in allowed:
            raise StateConflict(self.state, sorted(allowed))

    def _record(self, kind: str, at: datetime, *, unit: UnitCode | None = None, note: str = "") -> None:
        if self.state is not TicketState.AWAITING_SUPPLEMENT:
            self.supplement_question = ""
        self.version = Version(self.version + 1)
        self.update_time = max(self.update_time, at)
        self.changes.append(
            Change(
                ticket_id=self.ticket_id,
                version=self.version,
                state=self.state,
                occur_time=at,
                kind=kind,
                unit=unit,
                note=note,
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchFacts:
    """What the dispatcher says of an assignment."""

    epoch: int
    lead_unit: UnitCode
    co_handler_units: tuple[UnitCode, ...]
    class_code: str | None
    explanation: str
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitAct:
    """What a unit did under an epoch."""

    epoch: int
    unit: UnitCode
    note: str
    time: datetime
