"""A ticket's deadlines: the aggregate that keeps facts, judges by them, and announces each change once.

    fact ──► facts ──replay──► steps ──those not announced before──► announcements
    tick ──────────────────► near? past due, with nothing on its way? ──► announcements

A final state that was announced stays: a breach is never undone, and a deadline has one outcome.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NewType

from services.sla.domain.facts import NOBODY, Assignment, Cycle, Epoch, Extension, Facts, PortalCode, Question, UnitCode
from services.sla.domain.promise import Kind
from services.sla.domain.replay import Change, State, replay

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from services.sla.domain.calendar import CalendarVersion
    from services.sla.domain.facts import Course
    from services.sla.domain.promise import Promise, Rules
    from services.sla.domain.replay import Step

TicketId = NewType("TicketId", str)

_STATES = frozenset(State)


class Tally(StrEnum):
    """What an open deadline is counted as."""

    RUNNING = "running"
    PENDING_CALENDAR = "pending_calendar"
    PAUSED = "paused"
    OVERDUE = "overdue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """One deadline of one ticket, as announced last.

    Attributes:
        ticket_id: Whose.
        kind: Which promise.
        cycle: 0 for the submission, then the number of the reopening.
        state: Where it stands.
        start_time: When its clock started.
        due_time: Due, exclusive; None while paused, or while no calendar reaches so far.
        original_due_time: Due as first computed, before pauses and extensions; None while that is not known.
        at_risk_time: When it was last announced as at risk.
        at_risk_due_time: The due time that that was about.
        breach_time: The due time that passed.
        finish_time: When what was promised happened, in time or not.
        unit: Who leads, or led when it was over; `NOBODY` if none.
        extension_workdays: Workdays granted.
        is_over: True if nothing more is awaited: met, cancelled, or finished or cancelled after its breach.
        announced: Keys of the changes that were announced.
    """

    ticket_id: TicketId
    kind: Kind
    cycle: Cycle
    state: State
    start_time: datetime
    due_time: datetime | None = None
    original_due_time: datetime | None = None
    at_risk_time: datetime | None = None
    at_risk_due_time: datetime | None = None
    breach_time: datetime | None = None
    finish_time: datetime | None = None
    unit: UnitCode = NOBODY
    extension_workdays: int = 0
    is_over: bool = False
    announced: frozenset[str] = frozenset()

    @property
    def tally(self) -> Tally | None:
        """State by which gauges count the deadline; None after it has ended, or in a state of a newer release."""
        if self.is_over or self.state not in _STATES:
            return None
        return Tally.OVERDUE if self.state is State.BREACHED else Tally(self.state.value)

    def check_time(self, promise: Promise) -> datetime | None:
        """Return when a tick has to look at it next; None if never as it stands."""
        if self.state is not State.RUNNING or self.due_time is None:
            return None
        verdict = self.due_time + promise.grace
        return verdict if self.at_risk_due_time == self.due_time else min(promise.at_risk(self.due_time), verdict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineChanged:
    """A change of a deadline, to be announced.

    Attributes:
        change: What changed.
        deadline: The deadline after the change.
        event_time: When it happened; of `AT_RISK` and `BREACHED`, when it was noticed.
    """

    change: Change
    deadline: Deadline
    event_time: datetime


DeadlineKey = tuple[Kind, Cycle]


class TicketDeadlines:
    """The aggregate: all deadlines of one ticket.

    Methods named after what happened take a fact in; `settle` then says what it changes.
    """

    def __init__(
        self,
        ticket_id: TicketId,
        *,
        facts: Facts | None = None,
        deadlines: Iterable[Deadline] = (),
        calendar_version: CalendarVersion | None = None,
    ) -> None:
        """Restore the aggregate, or begin a new one.

        Args:
            ticket_id: Whose deadlines.
            facts: What was known.
            deadlines: As announced last.
            calendar_version: Version of the calendar that they were computed with.
        """
        self.ticket_id = ticket_id
        self.calendar_version = calendar_version
        self._facts = facts or Facts()
        self._deadlines: dict[DeadlineKey, Deadline] = {(each.kind, each.cycle): each for each in deadlines}

    @property
    def facts(self) -> Facts:
        """What is known to have happened."""
        return self._facts

    @property
    def deadlines(self) -> list[Deadline]:
        """All deadlines, earliest cycle first, dispatch before resolution."""
        return [self._deadlines[key] for key in sorted(self._deadlines, key=lambda key: (key[1], key[0]))]

    @property
    def is_open(self) -> bool:
        """True while the outcome of a deadline is not known."""
        return any(not each.state.is_final for each in self._deadlines.values())

    def check_time(self, rules: Rules) -> datetime | None:
        """Return when a tick has to look at this ticket next; None if never as it stands."""
        return min((time for each in self._deadlines.values() if (time := each.check_time(rules.of(each.kind))) is not None), default=None)

    def started(self, cycle: Cycle, time: datetime, *, portal: PortalCode | None = None) -> None:
        """The ticket was submitted (cycle 0), or reopened."""
        self._facts.portal = portal or self._facts.portal
        self._facts.starts.setdefault(cycle, time)

    def dispatched(self, epoch: Epoch, unit: UnitCode, dispatch_time: datetime, push_time: datetime) -> None:
        """A lead unit was given the ticket; of two reports of one epoch the earlier push holds."""
        known = self._facts.assignments.get(epoch)
        if known is None or push_time < known.push_time:
            self._facts.assignments[epoch] = Assignment(unit, dispatch_time, push_time)

    def returned(self, epoch: Epoch, time: datetime) -> None:
        """The lead unit sent the ticket back."""
        self._facts.returns.setdefault(epoch, time)

    def asked(self, epoch: Epoch, time: datetime) -> None:
        """The lead unit asked the enterprise for material."""
        self._facts.questions.add(Question(epoch, time))

    def answered(self, time: datetime) -> None:
        """The enterprise gave material."""
        self._facts.answers.add(time)

    def granted(self, epoch: Epoch, workdays: int, time: datetime) -> None:
        """The desk granted more workdays."""
        self._facts.extensions.add(Extension(epoch, time, workdays))

    def resolved(self, epoch: Epoch, time: datetime) -> None:
        """The lead unit resolved the ticket."""
        self._facts.resolutions.setdefault(epoch, time)

    def cancelled(self, time: datetime) -> None:
        """The ticket was withdrawn or declined; the earlier of the two holds."""
        self._facts.cancel = min(time, self._facts.cancel or time)

    def settle(self, rules: Rules, at: datetime) -> list[DeadlineChanged]:
        """Judge all deadlines by what is known, and return what was not announced before, in order.

        Args:
            rules: What to judge by.
            at: When it is judged: the time of a change that no event of its own brought about.
        """
        self.calendar_version = rules.calendar_version
        changes: list[DeadlineChanged] = []
        for cycle in sorted(self._facts.starts):
            for kind in Kind:
                news = self._settle(kind, cycle, rules, at)
                # Of a clock that a reopening superseded only the outcome is of use: word of an extension that comes late would be taken for
                # the due time of the clock that runs.
                changes += [each for each in news if not self._is_superseded(cycle) or each.deadline.state.is_final]
        return changes

    def tick(self, rules: Rules, *, known_until: datetime, now: datetime) -> list[DeadlineChanged]:
        """Judge by the time, and return what is to be announced.

        Args:
            rules: What to judge by.
            known_until: Everything that was sent before this instant is among the facts.
            now: The present, the time of noticing.
        """
        changes = []
        for deadline in self.deadlines:
            promise = rules.of(deadline.kind)
            check, due = deadline.check_time(promise), deadline.due_time
            if check is None or due is None or known_until < check:
                continue
            if known_until < due + promise.grace and self._is_superseded(deadline.cycle):
                # Consumers would take the warning for one of the running clock. The deadline is checked nevertheless.
                self._deadlines[deadline.kind, deadline.cycle] = replace(deadline, at_risk_due_time=due)
                continue
            if known_until < due + promise.grace:
                change, changed = Change.AT_RISK, replace(deadline, at_risk_time=now, at_risk_due_time=due)
            else:
                change, changed = Change.BREACHED, self._with_end(replace(deadline, state=State.BREACHED, breach_time=due))
            self._deadlines[changed.kind, changed.cycle] = changed
            changes.append(DeadlineChanged(change=change, deadline=changed, event_time=now))
        return changes

    def _settle(self, kind: Kind, cycle: Cycle, rules: Rules, at: datetime) -> Iterator[DeadlineChanged]:
        known = self._deadlines.get((kind, cycle)) or Deadline(
            ticket_id=self.ticket_id,
            kind=kind,
            cycle=cycle,
            state=State.PENDING_CALENDAR,
            start_time=self._facts.starts[cycle],
        )
        # A deadline in a state of a newer release is left to that release.
        if known.is_over or known.state not in _STATES:
            return
        unit = self._facts.lead_unit_in(cycle)
        if known.state is State.BREACHED:
            self._deadlines[kind, cycle] = self._with_end(replace(known, unit=unit))
            return
        course = self._course(kind, cycle)
        steps = replay(rules.of(kind), course)
        standing = steps[-1].standing
        settled = replace(
            known,
            state=standing.state,
            due_time=standing.due,
            extension_workdays=standing.extension_workdays,
            original_due_time=known.original_due_time or steps[0].standing.due,
            finish_time=course.finish,
            unit=unit,
            is_over=standing.state.is_final,
            announced=known.announced | {step.key for step in steps},
        )
        self._deadlines[kind, cycle] = settled
        yield from _announcements(known, settled, steps, at)

    def _is_superseded(self, cycle: Cycle) -> bool:
        return cycle < max(self._facts.starts, default=cycle)

    def _course(self, kind: Kind, cycle: Cycle) -> Course:
        return self._facts.dispatch_course(cycle) if kind is Kind.DISPATCH else self._facts.resolution_course(cycle)

    def _with_end(self, breached: Deadline) -> Deadline:
        """Return a breached deadline with what ended it after all, if anything did."""
        course = self._course(breached.kind, breached.cycle)
        return replace(breached, finish_time=course.finish, is_over=course.finish is not None or course.cancel is not None)


def _announcements(known: Deadline, settled: Deadline, steps: list[Step], at: datetime) -> Iterator[DeadlineChanged]:
    """Yield the steps that are news, then, if they do not tell how the clock stands now, that it was set anew.

    The last of them tells how the clock stands now, since a step may become known after later ones. That a clock started is no news
    while nobody can say when it is due.
    """
    news = [step for step in steps if step.key not in known.announced and not _is_silent(step)]
    told = (known.state, known.due_time)
    for step in news:
        deadline = settled if step is news[-1] else _as_of(step, settled)
        told = (deadline.state, deadline.due_time)
        yield DeadlineChanged(change=step.change, deadline=deadline, event_time=step.time)
    if told != (settled.state, settled.due_time):
        yield DeadlineChanged(change=Change.SET, deadline=settled, event_time=at)


def _as_of(step: Step, settled: Deadline) -> Deadline:
    """Return a deadline as it stood after a step that others followed."""
    return replace(
        settled,
        state=step.standing.state,
        due_time=step.standing.due,
        extension_workdays=step.standing.extension_workdays,
        finish_time=None,
        is_over=False,
    )


def _is_silent(step: Step) -> bool:
    return step.change is Change.SET and step.standing.state is State.PENDING_CALENDAR
