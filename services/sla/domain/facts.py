"""What is known to have happened to a ticket, in whatever order it became known.

Facts come from two topics that know nothing of each other's order, so they are kept as they come and put into order by their own times.
Which cycle a unit's action belongs to is told by its dispatch epoch: a resolution ends a cycle, so every later epoch belongs to
a later one. That holds without comparing the clocks of two services.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, NewType

from services.sla.domain.clock import Pause

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

PortalCode = NewType("PortalCode", str)
UnitCode = NewType("UnitCode", str)
Cycle = NewType("Cycle", int)
Epoch = NewType("Epoch", int)

NOBODY = UnitCode("")
SUBMISSION = Cycle(0)

_CLOCK_SKEW = timedelta(seconds=5)
"""By how much an answer may seem to come before its question, since two services' clocks tell their times."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A lead unit was given the ticket.

    Attributes:
        unit: Which one.
        dispatch_time: When that was decided.
        push_time: When it was sure to lie on the unit's topic.
    """

    unit: UnitCode
    dispatch_time: datetime
    push_time: datetime


@dataclass(frozen=True, slots=True)
class Question:
    """The lead unit asked the enterprise for material."""

    epoch: Epoch
    time: datetime


@dataclass(frozen=True, slots=True)
class Extension:
    """More workdays were granted."""

    epoch: Epoch
    time: datetime
    workdays: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What happened to one promise.

    Attributes:
        start: When its clock started.
        pauses: When it stood still, in order and apart from each other.
        extensions: What was granted, in order.
        finish: When what was promised happened; None if it has not.
        cancel: When the ticket was withdrawn or declined; None if it was not.
    """

    start: datetime
    pauses: tuple[Pause, ...] = ()
    extensions: tuple[Extension, ...] = ()
    finish: datetime | None = None
    cancel: datetime | None = None


@dataclass(slots=True, kw_only=True)
class Facts:
    """Everything known about one ticket.

    Attributes:
        portal: Who submitted it; None while that is not known.
        starts: Start of each cycle's clocks: 0 for the submission, then the number of the reopening.
        assignments: By epoch.
        returns: When the unit of an epoch sent the ticket back.
        questions: To the enterprise.
        answers: When the enterprise gave material.
        extensions: As granted.
        resolutions: When the unit of an epoch resolved the ticket.
        cancel: When it was withdrawn or declined; None if it was not.
        unread: Stored parts of a newer release, which are kept unchanged.
    """

    portal: PortalCode | None = None
    starts: dict[Cycle, datetime] = field(default_factory=dict)
    assignments: dict[Epoch, Assignment] = field(default_factory=dict)
    returns: dict[Epoch, datetime] = field(default_factory=dict)
    questions: set[Question] = field(default_factory=set)
    answers: set[datetime] = field(default_factory=set)
    extensions: set[Extension] = field(default_factory=set)
    resolutions: dict[Epoch, datetime] = field(default_factory=dict)
    cancel: datetime | None = None
    unread: dict[str, object] = field(default_factory=dict)

    def lead_unit(self) -> UnitCode:
        """Return who leads the ticket now."""
        return self._lead_among(self.assignments)

    def lead_unit_in(self, cycle: Cycle) -> UnitCode:
        """Return who leads, or led at last, in a cycle."""
        return self._lead_among({epoch: given for epoch, given in self.assignments.items() if self.cycle_of(epoch) == cycle})

    def cycle_of(self, epoch: Epoch) -> Cycle:
        """Return the cycle that an epoch belongs to."""
        return Cycle(sum(1 for resolved in self.resolutions if resolved < epoch))

    def dispatch_course(self, cycle: Cycle) -> Course:
        """Return what happened to a cycle's promise of a dispatch; its clock must have started."""
        pushes = {epoch: given.push_time for epoch, given in self.assignments.items() if self.cycle_of(epoch) == cycle}
        return Course(start=self.starts[cycle], finish=pushes[min(pushes)] if pushes else None, cancel=self._cancel_in(cycle))

    def resolution_course(self, cycle: Cycle) -> Course:
        """Return what happened to a cycle's promise of a resolution; its clock must have started."""
        start = self.starts[cycle]
        return Course(
            start=start,
            pauses=tuple(_apart(start, self._pauses_in(cycle))),
            extensions=tuple(sorted((each for each in self.extensions if self.cycle_of(each.epoch) == cycle), key=lambda each: each.time)),
            finish=min((time for epoch, time in self.resolutions.items() if self.cycle_of(epoch) == cycle), default=None),
            cancel=self._cancel_in(cycle),
        )

    def _lead_among(self, assignments: dict[Epoch, Assignment]) -> UnitCode:
        latest = max(assignments, default=None)
        return NOBODY if latest is None or latest in self.returns else assignments[latest].unit

    def _cancel_in(self, cycle: Cycle) -> datetime | None:
        return self.cancel if cycle == max(self.starts) else None

    def _pauses_in(self, cycle: Cycle) -> Iterator[Pause]:
        """Yield a pause for each question, which ends with the answer, or when the ticket leaves the unit that asked."""
        taken: set[datetime] = set()
        for question in sorted(self.questions, key=lambda each: each.time):
            answer = min((time for time in self.answers if self._answers(question, time, taken)), default=None)
            if answer is not None:
                taken.add(answer)
            if self.cycle_of(question.epoch) == cycle:
                ends = [time for time in (answer, *self._departures(question.epoch)) if time is not None]
                yield Pause(question.time, max(question.time, min(ends)) if ends else None)

    @staticmethod
    def _answers(question: Question, time: datetime, taken: set[datetime]) -> bool:
        return time >= question.time or (time >= question.time - _CLOCK_SKEW and time not in taken)

    def _departures(self, epoch: Epoch) -> Iterator[datetime]:
        if epoch in self.returns:
            yield self.returns[epoch]
        yield from (given.dispatch_time for later, given in self.assignments.items() if later > epoch)


def _apart(start: datetime, pauses: Iterator[Pause]) -> Iterator[Pause]:
    """Yield pauses, in order of their beginnings, with those that overlap joined and none before `start`."""
    current: Pause | None = None
    for pause in pauses:
        later = Pause(max(pause.pause_time, start), pause.resume_time and max(pause.resume_time, start))
        if current is None:
            current = later
        elif current.resume_time is None:
            break
        elif later.pause_time < current.resume_time:
            current = Pause(current.pause_time, later.resume_time and max(later.resume_time, current.resume_time))
        else:
            yield current
            current = later
    if current is not None:
        yield current
