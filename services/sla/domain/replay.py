"""Runs a promise's clock through what happened to it, by the times of the events and not by their arrival.

    SET ──► running ──PAUSED──► paused ──RESUMED──► running ──EXTENDED──► running ──► met, cancelled

A breach is not found here: that the due time passed with the clock running is only known when nothing that happened before it can be
on its way any more, and that is for a tick to say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from services.sla.domain.clock import Pause
from services.sla.domain.errors import CalendarUnknown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from services.sla.domain.facts import Course
    from services.sla.domain.promise import Promise


class State(StrEnum):
    """Where a deadline stands."""

    RUNNING = "running"
    PENDING_CALENDAR = "pending_calendar"
    PAUSED = "paused"
    MET = "met"
    BREACHED = "breached"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """True if nothing that happens later changes it."""
        return self in {State.MET, State.BREACHED, State.CANCELLED}


class Change(StrEnum):
    """What is announced of a deadline."""

    SET = "set"
    PAUSED = "paused"
    RESUMED = "resumed"
    EXTENDED = "extended"
    AT_RISK = "at_risk"
    BREACHED = "breached"
    MET = "met"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a clock stands.

    Attributes:
        state: Where it stands.
        due: When it is due; None if paused, or if the calendar does not reach so far.
        surely_not_before: An instant before which it is surely not due.
        extension_workdays: Workdays granted.
    """

    state: State
    due: datetime | None
    surely_not_before: datetime
    extension_workdays: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One change of a clock.

    Attributes:
        change: What changed.
        time: When.
        standing: How the clock stood after it.
    """

    change: Change
    time: datetime
    standing: Standing

    @property
    def key(self) -> str:
        """What tells this change from all others of the same deadline."""
        if self.change in _REPEATABLE:
            return f"{self.change.value} {self.time.isoformat()}"
        return self.change.value


_REPEATABLE = frozenset({Change.PAUSED, Change.RESUMED, Change.EXTENDED})


@dataclass(frozen=True, slots=True)
class _Moment:
    time: datetime
    change: Change
    workdays: int = 0


def replay(promise: Promise, course: Course) -> list[Step]:
    """Return the changes of a clock in their order; the first is always that it was set."""
    pauses: list[Pause] = []
    standing = _running(promise, course.start, pauses, 0)
    steps = [Step(change=Change.SET, time=course.start, standing=standing)]
    for moment in _moments(course):
        if not _matters(moment, standing):
            continue
        match moment.change:
            case Change.PAUSED:
                pauses.append(Pause(moment.time))
                standing = replace(standing, state=State.PAUSED, due=None)
            case Change.RESUMED:
                pauses[-1] = replace(pauses[-1], resume_time=moment.time)
                standing = _running(promise, course.start, pauses, standing.extension_workdays)
            case Change.EXTENDED:
                granted = standing.extension_workdays + moment.workdays
                extended = _running(promise, course.start, pauses, granted)
                standing = replace(standing, extension_workdays=granted) if standing.state is State.PAUSED else extended
            case Change.MET | Change.CANCELLED:
                standing = replace(standing, state=State(moment.change.value))
        steps.append(Step(change=moment.change, time=moment.time, standing=standing))
        if standing.state.is_final:
            break
    return steps


def _moments(course: Course) -> list[_Moment]:
    """Return what happened in order of time; of two things at the same time, in the order of this list."""
    moments: list[_Moment] = []
    for pause in course.pauses:
        moments.append(_Moment(pause.pause_time, Change.PAUSED))
        if pause.resume_time is not None:
            moments.append(_Moment(pause.resume_time, Change.RESUMED))
    moments += [_Moment(extension.time, Change.EXTENDED, extension.workdays) for extension in course.extensions]
    if course.finish is not None:
        moments.append(_Moment(course.finish, Change.MET))
    if course.cancel is not None:
        moments.append(_Moment(course.cancel, Change.CANCELLED))
    return sorted(moments, key=lambda moment: moment.time)


def _matters(moment: _Moment, standing: Standing) -> bool:
    """Return whether something that happened can change a clock that stands so."""
    match moment.change:
        case Change.RESUMED:
            return standing.state is State.PAUSED
        case Change.PAUSED:
            return standing.due is None or moment.time <= standing.due
        case Change.EXTENDED:
            return standing.due is None or moment.time < standing.due
    if standing.state is State.PENDING_CALENDAR:
        return moment.time < standing.surely_not_before
    return standing.due is None or moment.time < standing.due


def _running(promise: Promise, start: datetime, pauses: Sequence[Pause], extension_workdays: int) -> Standing:
    state, due = State.RUNNING, None
    try:
        due = promise.due(start, pauses, extension_workdays)
    except CalendarUnknown:
        state = State.PENDING_CALENDAR
    return Standing(
        state=state,
        due=due,
        surely_not_before=promise.earliest_due(start, extension_workdays),
        extension_workdays=extension_workdays,
    )
