from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from services.sla.domain.calendar import Notice
from services.sla.domain.deadline import Deadline, DeadlineChanged, Tally, TicketDeadlines, TicketId
from services.sla.domain.facts import Cycle, Epoch, PortalCode, UnitCode
from services.sla.domain.promise import Kind
from services.sla.domain.replay import Change, State
from tests.unit.sla.builders import NOTICE_FOR_2027, calendar, days, rules, shanghai, span

RULES = rules()
MONDAY = shanghai("2026-11-23T09:00")
DUE = shanghai("2026-11-27T00:00")
FIRST, SECOND = Epoch(1), Epoch(2)
HOUSING, TRAFFIC = UnitCode("zfcxjw"), UnitCode("jtysw")
SECOND_OF_TIME = timedelta(seconds=1)


def ticket(start: datetime = MONDAY) -> TicketDeadlines:
    """Return a submitted ticket, its beginning announced."""
    deadlines = TicketDeadlines(TicketId("t-1"))
    deadlines.started(Cycle(0), start, portal=PortalCode("portal-a"))
    deadlines.settle(RULES, start)
    return deadlines


def dispatched(deadlines: TicketDeadlines, after: timedelta, epoch: Epoch = FIRST, unit: UnitCode = HOUSING) -> list[DeadlineChanged]:
    deadlines.dispatched(epoch, unit, MONDAY + after, MONDAY + after)
    return deadlines.settle(RULES, MONDAY + after)


def of(deadlines: TicketDeadlines, kind: Kind, cycle: int = 0) -> Deadline:
    return next(each for each in deadlines.deadlines if (each.kind, each.cycle) == (kind, cycle))


def told(changes: list[DeadlineChanged]) -> list[tuple[Kind, Change]]:
    return [(each.deadline.kind, each.change) for each in changes]


def tick(deadlines: TicketDeadlines, at: datetime) -> list[DeadlineChanged]:
    return deadlines.tick(RULES, known_until=at, now=at)


def test_a_submission_sets_both_deadlines() -> None:
    deadlines = TicketDeadlines(TicketId("t-1"))
    deadlines.started(Cycle(0), MONDAY, portal=PortalCode("portal-a"))

    changes = deadlines.settle(RULES, MONDAY)

    assert told(changes) == [(Kind.DISPATCH, Change.SET), (Kind.RESOLUTION, Change.SET)]
    assert changes[0].deadline.due_time == MONDAY + timedelta(seconds=60)
    assert changes[1].deadline.due_time == changes[1].deadline.original_due_time == DUE
    assert {each.event_time for each in changes} == {MONDAY}


def test_the_same_fact_twice_is_announced_once() -> None:
    deadlines = ticket()

    deadlines.started(Cycle(0), MONDAY, portal=PortalCode("portal-a"))

    assert deadlines.settle(RULES, MONDAY) == []


def test_a_dispatch_within_the_minute_is_met_at_the_time_of_the_push() -> None:
    deadlines = ticket()

    changes = dispatched(deadlines, timedelta(seconds=59.999))

    assert told(changes) == [(Kind.DISPATCH, Change.MET)]
    assert changes[0].event_time == changes[0].deadline.finish_time == MONDAY + timedelta(seconds=59.999)
    assert of(deadlines, Kind.RESOLUTION).unit == HOUSING


def test_a_dispatch_exactly_at_the_due_time_is_too_late() -> None:
    deadlines = ticket()
    changes = dispatched(deadlines, timedelta(seconds=60))

    breached = tick(deadlines, MONDAY + timedelta(seconds=66))

    assert changes == []
    assert told(breached) == [(Kind.DISPATCH, Change.BREACHED)]
    assert breached[0].deadline.finish_time == breached[0].deadline.breach_time == MONDAY + timedelta(seconds=60)
    assert breached[0].deadline.is_over


def test_a_dispatch_in_time_of_which_we_hear_late_is_met() -> None:
    deadlines = ticket()
    tick(deadlines, MONDAY + timedelta(seconds=64.9))

    changes = dispatched(deadlines, timedelta(seconds=50))

    assert told(changes) == [(Kind.DISPATCH, Change.MET)]


def test_no_breach_is_announced_while_what_happened_before_it_may_be_on_its_way() -> None:
    deadlines = ticket()
    now = MONDAY + timedelta(hours=2)

    changes = deadlines.tick(RULES, known_until=MONDAY + timedelta(seconds=44), now=now)

    assert changes == []


def test_a_breach_has_the_due_time_as_its_time_and_is_announced_once() -> None:
    deadlines = ticket()
    now = MONDAY + timedelta(seconds=300)

    changes = tick(deadlines, now)

    assert told(changes) == [(Kind.DISPATCH, Change.BREACHED)]
    assert changes[0].event_time == now
    assert changes[0].deadline.breach_time == MONDAY + timedelta(seconds=60)
    assert tick(deadlines, now) == []


def test_a_breach_is_never_undone_but_what_ends_it_is_kept() -> None:
    deadlines = ticket()
    tick(deadlines, MONDAY + timedelta(seconds=300))
    tally_before = of(deadlines, Kind.DISPATCH).tally

    changes = dispatched(deadlines, timedelta(seconds=50))

    dispatch = of(deadlines, Kind.DISPATCH)
    assert changes == []
    assert (tally_before, dispatch.tally) == (Tally.OVERDUE, None)
    assert dispatch.state is State.BREACHED
    assert dispatch.finish_time == MONDAY + timedelta(seconds=50)


def test_a_dispatch_is_at_risk_after_45_seconds_once() -> None:
    deadlines = ticket()

    early, changes = tick(deadlines, MONDAY + timedelta(seconds=44.9)), tick(deadlines, MONDAY + timedelta(seconds=45))

    assert early == []
    assert told(changes) == [(Kind.DISPATCH, Change.AT_RISK)]
    assert changes[0].deadline.at_risk_time == MONDAY + timedelta(seconds=45)
    assert tick(deadlines, MONDAY + timedelta(seconds=50)) == []


def test_a_resolution_is_at_risk_at_nine_on_its_last_workday() -> None:
    deadlines = ticket()
    dispatched(deadlines, SECOND_OF_TIME)

    early, changes = tick(deadlines, shanghai("2026-11-26T08:59")), tick(deadlines, shanghai("2026-11-26T09:00"))

    assert early == []
    assert told(changes) == [(Kind.RESOLUTION, Change.AT_RISK)]


@pytest.mark.parametrize(
    ("resolved", "state"),
    [("2026-11-26T23:59:59.999999", State.MET), ("2026-11-27T00:00", State.BREACHED)],
)
def test_a_resolution_is_in_time_only_before_the_due_time(resolved: str, state: State) -> None:
    deadlines = ticket()
    dispatched(deadlines, SECOND_OF_TIME)

    deadlines.resolved(FIRST, shanghai(resolved))
    deadlines.settle(RULES, shanghai(resolved))
    tick(deadlines, DUE + timedelta(minutes=2))

    assert of(deadlines, Kind.RESOLUTION).state is state
    assert of(deadlines, Kind.RESOLUTION).is_over


def test_a_question_pauses_and_the_answer_resumes_with_a_new_due_time() -> None:
    deadlines = ticket(shanghai("2026-03-10T10:00"))

    deadlines.asked(FIRST, shanghai("2026-03-13T11:00"))
    paused = deadlines.settle(RULES, shanghai("2026-03-13T11:00"))
    deadlines.answered(shanghai("2026-03-14T10:00"))
    resumed = deadlines.settle(RULES, shanghai("2026-03-14T10:00"))

    assert told(paused) == [(Kind.RESOLUTION, Change.PAUSED)]
    assert paused[0].deadline.due_time is None
    assert told(resumed) == [(Kind.RESOLUTION, Change.RESUMED)]
    assert resumed[0].deadline.due_time == shanghai("2026-03-17T00:00")
    assert resumed[0].deadline.original_due_time == shanghai("2026-03-14T00:00")


def test_a_paused_clock_is_not_breached() -> None:
    deadlines = ticket()
    dispatched(deadlines, SECOND_OF_TIME)
    deadlines.asked(FIRST, MONDAY + timedelta(hours=1))
    deadlines.settle(RULES, MONDAY + timedelta(hours=1))

    changes = tick(deadlines, shanghai("2026-12-24T09:00"))

    assert changes == []
    assert deadlines.check_time(RULES) is None
    assert of(deadlines, Kind.RESOLUTION).tally is Tally.PAUSED


@pytest.mark.parametrize(("asked", "state"), [("2026-11-27T00:00", State.PAUSED), ("2026-11-27T00:00:00.000001", State.BREACHED)])
def test_a_clock_paused_at_the_very_end_of_its_last_workday_has_not_run_out(asked: str, state: State) -> None:
    deadlines = ticket()
    dispatched(deadlines, SECOND_OF_TIME)

    deadlines.asked(FIRST, shanghai(asked))
    deadlines.settle(RULES, shanghai(asked))
    tick(deadlines, DUE + timedelta(minutes=2))

    assert of(deadlines, Kind.RESOLUTION).state is state


def test_an_answer_that_arrives_before_its_question_resumes_what_the_question_paused() -> None:
    deadlines = ticket()
    deadlines.answered(MONDAY + timedelta(hours=30))
    silent = deadlines.settle(RULES, MONDAY + timedelta(hours=30))

    deadlines.asked(FIRST, MONDAY + timedelta(hours=2))
    changes = deadlines.settle(RULES, MONDAY + timedelta(hours=2))

    assert silent == []
    assert told(changes) == [(Kind.RESOLUTION, Change.PAUSED), (Kind.RESOLUTION, Change.RESUMED)]
    assert changes[0].deadline.state is State.PAUSED
    assert changes[0].deadline.due_time is None
    assert changes[1].deadline.due_time == shanghai("2026-11-27T00:00")


def test_an_answer_ends_its_own_pause_though_another_clock_told_its_time() -> None:
    deadlines = ticket()
    deadlines.asked(FIRST, MONDAY + timedelta(hours=1))

    deadlines.answered(MONDAY + timedelta(hours=1) - timedelta(milliseconds=300))
    deadlines.settle(RULES, MONDAY + timedelta(hours=1))

    assert of(deadlines, Kind.RESOLUTION).state is State.RUNNING


def test_an_old_answer_does_not_end_the_pause_of_a_new_question() -> None:
    deadlines = ticket()
    deadlines.asked(FIRST, MONDAY + timedelta(hours=1))
    deadlines.answered(MONDAY + timedelta(hours=2))

    deadlines.asked(FIRST, MONDAY + timedelta(hours=2, seconds=1))
    deadlines.settle(RULES, MONDAY + timedelta(hours=3))

    assert of(deadlines, Kind.RESOLUTION).state is State.PAUSED


@pytest.mark.parametrize("how", ["returned", "transferred"])
def test_a_pause_ends_when_the_ticket_leaves_the_unit_that_asked(how: str) -> None:
    deadlines = ticket()
    dispatched(deadlines, SECOND_OF_TIME)
    deadlines.asked(FIRST, MONDAY + timedelta(hours=1))
    deadlines.settle(RULES, MONDAY + timedelta(hours=1))

    if how == "returned":
        deadlines.returned(FIRST, MONDAY + timedelta(hours=2))
        changes = deadlines.settle(RULES, MONDAY + timedelta(hours=2))
    else:
        changes = dispatched(deadlines, timedelta(hours=2), SECOND, TRAFFIC)

    assert told(changes) == [(Kind.RESOLUTION, Change.RESUMED)]
    assert changes[0].event_time == MONDAY + timedelta(hours=2)


def test_a_question_asked_again_while_it_waits_is_the_same_pause() -> None:
    deadlines = ticket()
    deadlines.asked(FIRST, MONDAY + timedelta(hours=1))
    deadlines.settle(RULES, MONDAY + timedelta(hours=1))

    deadlines.asked(FIRST, MONDAY + timedelta(hours=3))
    again = deadlines.settle(RULES, MONDAY + timedelta(hours=3))
    deadlines.answered(MONDAY + timedelta(hours=4))
    resumed = deadlines.settle(RULES, MONDAY + timedelta(hours=4))

    assert again == []
    assert told(resumed) == [(Kind.RESOLUTION, Change.RESUMED)]


def test_an_extension_moves_the_due_time_and_keeps_the_original() -> None:
    deadlines = ticket(shanghai("2026-09-30T10:00"))

    deadlines.granted(FIRST, 3, shanghai("2026-10-08T10:00"))
    changes = deadlines.settle(RULES, shanghai("2026-10-08T10:00"))

    assert told(changes) == [(Kind.RESOLUTION, Change.EXTENDED)]
    assert changes[0].deadline.due_time == shanghai("2026-10-15T00:00")
    assert changes[0].deadline.original_due_time == shanghai("2026-10-11T00:00")
    assert changes[0].deadline.extension_workdays == 3


@pytest.mark.parametrize(("granted", "counts"), [("2026-11-26T23:59:59", True), ("2026-11-27T00:00", False)])
def test_an_extension_must_be_granted_before_the_due_time(granted: str, counts: bool) -> None:
    deadlines = ticket()

    deadlines.granted(FIRST, 1, shanghai(granted))
    changes = deadlines.settle(RULES, shanghai(granted))

    assert (told(changes) == [(Kind.RESOLUTION, Change.EXTENDED)]) is counts
    assert of(deadlines, Kind.RESOLUTION).extension_workdays == int(counts)


def test_an_extension_granted_during_a_pause_counts_when_the_clock_runs_again() -> None:
    deadlines = ticket()
    deadlines.asked(FIRST, MONDAY + timedelta(hours=1))
    deadlines.granted(FIRST, 2, MONDAY + timedelta(hours=2))
    extended = deadlines.settle(RULES, MONDAY + timedelta(hours=2))

    deadlines.answered(MONDAY + timedelta(hours=3))
    resumed = deadlines.settle(RULES, MONDAY + timedelta(hours=3))

    assert told(extended) == [(Kind.RESOLUTION, Change.PAUSED), (Kind.RESOLUTION, Change.EXTENDED)]
    assert extended[1].deadline.due_time is None
    assert resumed[0].deadline.due_time == shanghai("2026-12-01T00:00")


def test_extensions_add_up() -> None:
    deadlines = ticket()
    deadlines.granted(FIRST, 1, MONDAY + timedelta(hours=1))

    deadlines.granted(FIRST, 2, MONDAY + timedelta(hours=2))
    deadlines.settle(RULES, MONDAY + timedelta(hours=2))

    assert of(deadlines, Kind.RESOLUTION).due_time == shanghai("2026-12-02T00:00")


def test_a_new_due_time_is_warned_of_anew_but_an_unchanged_one_is_not() -> None:
    deadlines = ticket()
    dispatched(deadlines, SECOND_OF_TIME)
    tick(deadlines, shanghai("2026-11-26T09:00"))
    deadlines.asked(FIRST, shanghai("2026-11-26T09:30"))
    deadlines.answered(shanghai("2026-11-26T10:00"))
    deadlines.settle(RULES, shanghai("2026-11-26T10:00"))

    unchanged = tick(deadlines, shanghai("2026-11-26T11:00"))
    deadlines.granted(FIRST, 1, shanghai("2026-11-26T12:00"))
    deadlines.settle(RULES, shanghai("2026-11-26T12:00"))
    too_early, moved = tick(deadlines, shanghai("2026-11-27T08:59")), tick(deadlines, shanghai("2026-11-27T09:00"))

    assert unchanged == too_early == []
    assert told(moved) == [(Kind.RESOLUTION, Change.AT_RISK)]


def test_a_pause_known_only_after_later_changes_leaves_the_true_due_time_as_the_last_word() -> None:
    deadlines = ticket()
    deadlines.granted(FIRST, 1, shanghai("2026-11-26T10:00"))
    deadlines.settle(RULES, shanghai("2026-11-26T10:00"))

    deadlines.answered(shanghai("2026-11-25T09:00"))
    deadlines.asked(FIRST, shanghai("2026-11-24T09:00"))
    changes = deadlines.settle(RULES, shanghai("2026-11-24T09:00"))

    assert told(changes) == [(Kind.RESOLUTION, Change.PAUSED), (Kind.RESOLUTION, Change.RESUMED)]
    assert changes[-1].deadline.due_time == of(deadlines, Kind.RESOLUTION).due_time == shanghai("2026-12-01T00:00")


def test_everything_may_come_before_the_submission() -> None:
    deadlines = TicketDeadlines(TicketId("t-1"))
    deadlines.resolved(FIRST, shanghai("2026-11-25T15:00"))
    deadlines.answered(shanghai("2026-11-25T09:00"))
    deadlines.asked(FIRST, shanghai("2026-11-24T09:00"))
    nothing = dispatched(deadlines, SECOND_OF_TIME)

    deadlines.started(Cycle(0), MONDAY, portal=PortalCode("portal-a"))
    changes = deadlines.settle(RULES, MONDAY)

    assert nothing == []
    assert told(changes) == [
        (Kind.DISPATCH, Change.SET),
        (Kind.DISPATCH, Change.MET),
        (Kind.RESOLUTION, Change.SET),
        (Kind.RESOLUTION, Change.PAUSED),
        (Kind.RESOLUTION, Change.RESUMED),
        (Kind.RESOLUTION, Change.MET),
    ]
    assert [each.deadline.state for each in changes[2:]] == [State.RUNNING, State.PAUSED, State.RUNNING, State.MET]
    assert [each.deadline.due_time for each in changes[2:4]] == [DUE, None]


def test_a_withdrawal_cancels_what_is_open() -> None:
    deadlines = ticket()
    dispatched(deadlines, SECOND_OF_TIME)

    deadlines.cancelled(MONDAY + timedelta(hours=1))
    changes = deadlines.settle(RULES, MONDAY + timedelta(hours=1))

    assert told(changes) == [(Kind.RESOLUTION, Change.CANCELLED)]
    assert not deadlines.is_open


def test_a_withdrawal_before_any_dispatch_cancels_both() -> None:
    deadlines = ticket()

    deadlines.cancelled(MONDAY + SECOND_OF_TIME)
    changes = deadlines.settle(RULES, MONDAY + SECOND_OF_TIME)

    assert told(changes) == [(Kind.DISPATCH, Change.CANCELLED), (Kind.RESOLUTION, Change.CANCELLED)]


def test_a_withdrawal_after_the_due_time_does_not_hide_the_breach() -> None:
    deadlines = ticket()
    dispatched(deadlines, SECOND_OF_TIME)

    deadlines.cancelled(DUE)
    silent = deadlines.settle(RULES, DUE)
    changes = tick(deadlines, DUE + timedelta(minutes=2))

    assert silent == []
    assert told(changes) == [(Kind.RESOLUTION, Change.BREACHED)]
    assert changes[0].deadline.is_over


def test_a_final_outcome_that_was_announced_stays() -> None:
    deadlines = ticket()
    deadlines.cancelled(MONDAY + timedelta(hours=2))
    deadlines.settle(RULES, MONDAY + timedelta(hours=2))

    deadlines.resolved(FIRST, MONDAY + timedelta(hours=1))

    assert deadlines.settle(RULES, MONDAY + timedelta(hours=1)) == []
    assert of(deadlines, Kind.RESOLUTION).state is State.CANCELLED


def test_a_reopening_starts_new_clocks_beside_the_old() -> None:
    deadlines = ticket()
    dispatched(deadlines, SECOND_OF_TIME)
    deadlines.resolved(FIRST, MONDAY + timedelta(hours=1))
    deadlines.settle(RULES, MONDAY + timedelta(hours=1))
    reopened = shanghai("2026-12-07T10:00")

    deadlines.started(Cycle(1), reopened)
    started = deadlines.settle(RULES, reopened)
    deadlines.dispatched(SECOND, HOUSING, reopened, reopened + timedelta(seconds=2))
    met = deadlines.settle(RULES, reopened)

    assert [(each.deadline.kind, each.change, each.deadline.cycle) for each in started + met] == [
        (Kind.DISPATCH, Change.SET, 1),
        (Kind.RESOLUTION, Change.SET, 1),
        (Kind.DISPATCH, Change.MET, 1),
    ]
    assert of(deadlines, Kind.RESOLUTION, 0).state is State.MET
    assert of(deadlines, Kind.RESOLUTION, 1).due_time == shanghai("2026-12-11T00:00")


def test_what_comes_late_about_a_superseded_clock_is_not_announced_but_its_outcome_is() -> None:
    deadlines = ticket()
    dispatched(deadlines, SECOND_OF_TIME)
    reopened = MONDAY + timedelta(hours=5)
    deadlines.started(Cycle(1), reopened)
    deadlines.settle(RULES, reopened)

    deadlines.granted(FIRST, 2, MONDAY + timedelta(hours=1))
    extended = deadlines.settle(RULES, MONDAY + timedelta(hours=1))
    deadlines.resolved(FIRST, MONDAY + timedelta(hours=2))
    resolved = deadlines.settle(RULES, MONDAY + timedelta(hours=2))

    assert extended == []
    assert [(each.deadline.kind, each.change, each.deadline.cycle) for each in resolved] == [(Kind.RESOLUTION, Change.MET, 0)]
    assert of(deadlines, Kind.RESOLUTION, 0).extension_workdays == 2


def test_a_dispatch_belongs_to_the_reopening_though_another_clock_told_an_earlier_time() -> None:
    deadlines = ticket()
    dispatched(deadlines, SECOND_OF_TIME)
    deadlines.resolved(FIRST, MONDAY + timedelta(hours=1))
    reopened = MONDAY + timedelta(hours=5)
    deadlines.started(Cycle(1), reopened)

    deadlines.dispatched(SECOND, HOUSING, reopened - timedelta(milliseconds=80), reopened - timedelta(milliseconds=20))
    deadlines.settle(RULES, reopened)

    assert of(deadlines, Kind.DISPATCH, 1).state is State.MET


def test_a_withdrawal_after_a_reopening_leaves_the_first_cycle_as_it_was() -> None:
    deadlines = ticket()
    dispatched(deadlines, SECOND_OF_TIME)
    deadlines.resolved(FIRST, MONDAY + timedelta(hours=1))
    deadlines.started(Cycle(1), MONDAY + timedelta(hours=5))

    deadlines.cancelled(MONDAY + timedelta(hours=6))
    deadlines.settle(RULES, MONDAY + timedelta(hours=6))

    assert of(deadlines, Kind.RESOLUTION, 0).state is State.MET
    assert of(deadlines, Kind.RESOLUTION, 1).state is State.CANCELLED


def test_the_lead_is_the_latest_unit_that_did_not_send_the_ticket_back() -> None:
    deadlines = ticket()
    dispatched(deadlines, SECOND_OF_TIME)
    deadlines.returned(FIRST, MONDAY + timedelta(hours=1))
    deadlines.settle(RULES, MONDAY + timedelta(hours=1))
    between = deadlines.facts.lead_unit(), of(deadlines, Kind.RESOLUTION).unit

    dispatched(deadlines, timedelta(hours=2), SECOND, TRAFFIC)

    assert between == ("", "")
    assert deadlines.facts.lead_unit() == of(deadlines, Kind.RESOLUTION).unit == TRAFFIC


def test_without_a_calendar_for_its_days_a_clock_waits_and_is_set_when_the_calendar_comes() -> None:
    start = shanghai("2026-12-29T10:00")
    deadlines = TicketDeadlines(TicketId("t-1"))
    deadlines.started(Cycle(0), start)

    at_first = deadlines.settle(RULES, start)
    waiting = of(deadlines, Kind.RESOLUTION)
    ticked = tick(deadlines, shanghai("2027-06-01T00:00"))
    known = rules(calendar(NOTICE_FOR_2027, version="with 2027"))
    changes = deadlines.settle(known, shanghai("2026-12-30T12:00"))

    assert told(at_first) == [(Kind.DISPATCH, Change.SET)]
    assert (waiting.state, waiting.due_time, waiting.tally) == (State.PENDING_CALENDAR, None, Tally.PENDING_CALENDAR)
    assert told(ticked) == [(Kind.DISPATCH, Change.BREACHED)]
    assert told(changes) == [(Kind.RESOLUTION, Change.SET)]
    assert changes[0].deadline.due_time == changes[0].deadline.original_due_time == shanghai("2027-01-05T00:00")
    assert changes[0].event_time == shanghai("2026-12-30T12:00")
    assert deadlines.calendar_version == "with 2027"


def test_a_clock_that_waits_for_a_calendar_is_met_when_it_cannot_be_late() -> None:
    start = shanghai("2026-12-29T10:00")
    deadlines = ticket(start)

    deadlines.resolved(FIRST, shanghai("2027-01-01T23:59"))
    changes = deadlines.settle(RULES, shanghai("2027-01-01T23:59"))

    assert told(changes) == [(Kind.RESOLUTION, Change.MET)]


def test_a_clock_that_waits_for_a_calendar_is_judged_later_when_it_may_be_late() -> None:
    start = shanghai("2026-12-29T10:00")
    deadlines = ticket(start)
    deadlines.resolved(FIRST, shanghai("2027-01-04T23:59"))
    undecided = deadlines.settle(RULES, shanghai("2027-01-04T23:59"))

    changes = deadlines.settle(rules(calendar(NOTICE_FOR_2027)), shanghai("2027-02-01T00:00"))

    assert undecided == []
    assert told(changes) == [(Kind.RESOLUTION, Change.MET)]
    assert changes[0].deadline.due_time == shanghai("2027-01-05T00:00")


def test_a_pause_and_an_extension_are_told_of_while_the_due_time_is_unknown() -> None:
    deadlines = ticket(shanghai("2026-12-29T10:00"))
    deadlines.asked(FIRST, shanghai("2026-12-29T11:00"))
    deadlines.answered(shanghai("2026-12-29T12:00"))
    deadlines.granted(FIRST, 1, shanghai("2026-12-29T13:00"))
    changes = deadlines.settle(RULES, shanghai("2026-12-29T13:00"))

    known = deadlines.settle(rules(calendar(NOTICE_FOR_2027)), shanghai("2026-12-30T00:00"))

    assert told(changes) == [(Kind.RESOLUTION, Change.PAUSED), (Kind.RESOLUTION, Change.RESUMED), (Kind.RESOLUTION, Change.EXTENDED)]
    assert [each.deadline.due_time for each in changes] == [None, None, None]
    assert told(known) == [(Kind.RESOLUTION, Change.SET)]
    assert known[0].deadline.due_time == shanghai("2027-01-06T00:00")


def test_an_extension_into_an_unknown_year_waits_for_the_calendar() -> None:
    deadlines = ticket(shanghai("2026-12-28T10:00"))
    dispatched(deadlines, SECOND_OF_TIME)

    deadlines.granted(FIRST, 1, shanghai("2026-12-29T10:00"))
    changes = deadlines.settle(RULES, shanghai("2026-12-29T10:00"))

    assert told(changes) == [(Kind.RESOLUTION, Change.EXTENDED)]
    assert (changes[0].deadline.state, changes[0].deadline.due_time) == (State.PENDING_CALENDAR, None)


def test_a_changed_calendar_moves_open_deadlines_and_leaves_final_ones() -> None:
    deadlines = ticket(shanghai("2026-12-28T10:00"))
    dispatched(deadlines, SECOND_OF_TIME)
    changed = rules(calendar(Notice(year=2027, off=(span("2026-12-31", "2027-01-02"),), make_up_workdays=days("2027-01-03"))))

    changes = deadlines.settle(changed, shanghai("2026-12-28T12:00"))

    assert told(changes) == [(Kind.RESOLUTION, Change.SET)]
    assert changes[0].deadline.due_time == shanghai("2027-01-04T00:00")
    assert changes[0].deadline.original_due_time == shanghai("2027-01-01T00:00")


def test_a_ticket_of_which_only_actions_are_known_has_no_deadlines_and_needs_no_look() -> None:
    deadlines = TicketDeadlines(TicketId("t-1"))

    dispatched(deadlines, SECOND_OF_TIME)

    assert deadlines.deadlines == []
    assert not deadlines.is_open
    assert deadlines.check_time(RULES) is None


def test_deadlines_are_listed_by_cycle_then_dispatch_before_resolution() -> None:
    deadlines = TicketDeadlines(TicketId("t-1"))
    deadlines.started(Cycle(1), MONDAY + timedelta(days=3))
    deadlines.started(Cycle(0), MONDAY)

    deadlines.settle(RULES, MONDAY)

    assert [(each.cycle, each.kind) for each in deadlines.deadlines] == [
        (0, Kind.DISPATCH),
        (0, Kind.RESOLUTION),
        (1, Kind.DISPATCH),
        (1, Kind.RESOLUTION),
    ]


def test_a_clock_that_a_reopening_superseded_warns_nobody_and_is_judged_all_the_same() -> None:
    deadlines = ticket(MONDAY)
    dispatched(deadlines, SECOND_OF_TIME)
    deadlines.settle(RULES, MONDAY)
    due = deadlines.deadlines[1].due_time
    assert due is not None
    deadlines.started(Cycle(1), due - timedelta(hours=12))
    deadlines.settle(RULES, due - timedelta(hours=12))

    warned = deadlines.tick(RULES, known_until=due, now=due)
    judged = deadlines.tick(RULES, known_until=due + timedelta(minutes=1), now=due + timedelta(minutes=1))

    assert [each for each in warned if each.deadline.kind is Kind.RESOLUTION] == []
    assert [(each.change, each.deadline.cycle) for each in judged if each.deadline.kind is Kind.RESOLUTION] == [(Change.BREACHED, 0)]
