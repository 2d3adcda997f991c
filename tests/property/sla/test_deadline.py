"""Two topics deliver a ticket's facts, each in its order, interleaved and delayed at will."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from services.sla.domain.deadline import DeadlineChanged, TicketDeadlines, TicketId
from services.sla.domain.facts import Cycle, Epoch, PortalCode, UnitCode
from services.sla.domain.promise import Kind
from services.sla.domain.replay import Change, State
from tests.unit.sla.builders import rules, shanghai

if TYPE_CHECKING:
    from collections.abc import Callable

RULES = rules()
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
FINAL = {Change.MET, Change.BREACHED, Change.CANCELLED}


@dataclass(frozen=True)
class Fact:
    name: str
    time: datetime
    tell: Callable[[TicketDeadlines], None]


@dataclass(frozen=True)
class History:
    """What happened, by topic; each topic in its order."""

    intake: list[Fact]
    dispatcher: list[Fact]


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Draw a ticket's life: dispatched in time; questions, returns, extensions; at last resolved in time, withdrawn, or still open."""
    story = _Story(draw, shanghai("2026-11-23T09:00") + draw(st.integers(0, 6)) * DAY)
    story.start(Cycle(0))
    story.live_a_cycle()
    if story.resolved and draw(st.booleans()):
        story.now += draw(st.integers(1, 100)) * HOUR
        story.start(Cycle(1))
        story.live_a_cycle()
    return History(story.intake, story.dispatcher)


class _Story:
    def __init__(self, draw: st.DrawFn, now: datetime) -> None:
        self.draw, self.now = draw, now
        self.epoch = 0
        self.resolved = False
        self.intake: list[Fact] = []
        self.dispatcher: list[Fact] = []

    def start(self, cycle: Cycle) -> None:
        at = self.now
        self.intake.append(Fact("started", at, lambda ticket: ticket.started(cycle, at, portal=PortalCode("p"))))

    def live_a_cycle(self) -> None:
        self.dispatch()
        self.resolved = False
        for action in self.draw(st.lists(st.sampled_from([self.ask, self.transfer, self.extend]), max_size=4)):
            self.wait()
            action()
        self.wait()
        self.draw(st.sampled_from([self.resolve, self.withdraw, self.stay]))()

    def wait(self) -> None:
        # Six waits of at most eleven hours end before the third workday does.
        self.now += self.draw(st.integers(1, 11 * 60)) * MINUTE

    def say(self, name: str, tell: Callable[[TicketDeadlines, datetime, Epoch], None]) -> None:
        at, epoch = self.now, Epoch(self.epoch)
        self.dispatcher.append(Fact(name, at, lambda ticket: tell(ticket, at, epoch)))

    def dispatch(self) -> None:
        self.epoch += 1
        self.now += timedelta(seconds=self.draw(st.integers(0, 59)))
        unit = UnitCode(f"unit-{self.epoch}")
        self.say("dispatched", lambda ticket, at, epoch: ticket.dispatched(epoch, unit, at, at))

    def ask(self) -> None:
        self.say("asked", lambda ticket, at, epoch: ticket.asked(epoch, at))
        if self.draw(st.booleans()):
            self.wait()
            at = self.now
            self.intake.append(Fact("answered", at, lambda ticket: ticket.answered(at)))
            self.now += timedelta(seconds=6)
        else:
            self.wait()
            self.transfer()

    def transfer(self) -> None:
        if self.draw(st.booleans()):
            self.say("returned", lambda ticket, at, epoch: ticket.returned(epoch, at))
        self.dispatch()

    def extend(self) -> None:
        workdays = self.draw(st.integers(1, 3))
        self.say("granted", lambda ticket, at, epoch: ticket.granted(epoch, workdays, at))

    def resolve(self) -> None:
        self.resolved = True
        self.say("resolved", lambda ticket, at, epoch: ticket.resolved(epoch, at))

    def withdraw(self) -> None:
        at = self.now
        self.intake.append(Fact("withdrawn", at, lambda ticket: ticket.cancelled(at)))

    def stay(self) -> None:
        """Leave the ticket open."""


@st.composite
def interleaved(draw: st.DrawFn, history: History) -> list[Fact]:
    intake, dispatcher, merged = list(history.intake), list(history.dispatcher), []
    while intake and dispatcher:
        merged.append((intake if draw(st.booleans()) else dispatcher).pop(0))
    return merged + intake + dispatcher


def live(facts: list[Fact]) -> tuple[TicketDeadlines, list[DeadlineChanged]]:
    deadlines, changes = TicketDeadlines(TicketId("t-1")), []
    for fact in facts:
        fact.tell(deadlines)
        changes += deadlines.settle(RULES, fact.time)
    return deadlines, changes


def outcomes(deadlines: TicketDeadlines) -> list[tuple[object, ...]]:
    """Return what must not depend on the order of arrival: all of an open deadline, the outcome of one that is over."""
    return [
        (each.kind, each.cycle, each.state, each.finish_time, each.original_due_time)
        if each.is_over
        else (each.kind, each.cycle, each.state, each.due_time, each.unit, each.extension_workdays, each.original_due_time)
        for each in deadlines.deadlines
    ]


@settings(max_examples=400, deadline=None)
@given(data=st.data(), history=histories())
def test_the_order_of_arrival_over_topics_does_not_matter(data: st.DataObject, history: History) -> None:
    in_order = sorted(history.intake + history.dispatcher, key=lambda fact: fact.time)

    arrived, _ = live(data.draw(interleaved(history)))

    assert outcomes(arrived) == outcomes(live(in_order)[0])


@settings(max_examples=400, deadline=None)
@given(data=st.data(), history=histories())
def test_each_change_is_announced_once_and_the_last_word_is_true(data: st.DataObject, history: History) -> None:
    arrival = data.draw(interleaved(history))

    deadlines, changes = live(arrival + arrival)

    told = Counter(
        (each.deadline.kind, each.deadline.cycle, each.change, each.event_time) for each in changes if each.change is not Change.SET
    )
    assert set(told.values()) <= {1}
    for deadline in deadlines.deadlines:
        own = [each for each in changes if (each.deadline.kind, each.deadline.cycle) == (deadline.kind, deadline.cycle)]
        assert own[0].change is Change.SET
        assert sum(each.change in FINAL for each in own) == (1 if deadline.is_over else 0)
        assert (own[-1].deadline.state, own[-1].deadline.due_time) == (deadline.state, deadline.due_time)
        assert all((each.deadline.due_time is None) == (each.deadline.state is State.PAUSED) for each in own if each.change not in FINAL)


@settings(max_examples=400, deadline=None)
@given(history=histories(), gaps=st.lists(st.timedeltas(timedelta(0), DAY), max_size=12))
def test_a_paused_clock_is_announced_as_running_again_as_often_as_it_ran_again(history: History, gaps: list[timedelta]) -> None:
    deadlines, changes = live(sorted(history.intake + history.dispatcher, key=lambda fact: fact.time))
    now = max(fact.time for fact in history.intake + history.dispatcher)
    for gap in gaps:
        now += gap
        changes += deadlines.tick(RULES, known_until=now, now=now)

    for deadline in deadlines.deadlines:
        own = Counter(each.change for each in changes if (each.deadline.kind, each.deadline.cycle) == (deadline.kind, deadline.cycle))
        paused_still = own[Change.PAUSED] - own[Change.RESUMED]
        assert paused_still in {0, 1}
        assert (paused_still == 1) >= (deadline.state is State.PAUSED)
        assert own[Change.BREACHED] == (deadline.state is State.BREACHED)
        assert own[Change.AT_RISK] <= 1


@settings(max_examples=400, deadline=None)
@given(
    kind=st.sampled_from(Kind),
    finish=st.one_of(st.none(), st.floats(-1, 1)),
    lag=st.timedeltas(timedelta(0), timedelta(hours=10)),
    looks=st.lists(st.timedeltas(timedelta(0), timedelta(hours=12)), max_size=10),
)
def test_lag_alone_never_breaches_a_promise(kind: Kind, finish: float | None, lag: timedelta, looks: list[timedelta]) -> None:
    """`finish` counts hours from the due time; the news of it comes `lag` later, and until then nobody claims to know of its time."""
    start = shanghai("2026-11-23T09:00")
    deadlines = TicketDeadlines(TicketId("t-1"))
    deadlines.started(Cycle(0), start)
    due = next(each.deadline.due_time for each in deadlines.settle(RULES, start) if each.deadline.kind is kind)
    assert due is not None
    happens = None if finish is None else due + finish * (timedelta(seconds=60) if kind is Kind.DISPATCH else HOUR)
    changes: list[DeadlineChanged] = []

    now, heard = due - HOUR, False
    for gap in [*sorted(looks), timedelta(days=2)]:
        now += gap
        if happens is not None and not heard and now >= happens + lag:
            heard = True
            if kind is Kind.DISPATCH:
                deadlines.dispatched(Epoch(1), UnitCode("u"), happens, happens)
            else:
                deadlines.resolved(Epoch(1), happens)
            changes += deadlines.settle(RULES, happens)
        known_until = now if heard or happens is None else min(now, happens)
        changes += deadlines.tick(RULES, known_until=known_until, now=now)

    expected = Change.MET if happens is not None and happens < due else Change.BREACHED
    assert [each.change for each in changes if each.deadline.kind is kind and each.change in FINAL] == [expected]
