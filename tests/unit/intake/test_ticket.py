"""The ticket's states: what is possible in which, and what comes too late."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from services.intake.domain.errors import ReopenWindowOver, StateConflict
from services.intake.domain.ticket import REOPEN_WINDOW
from services.intake.domain.types import OPEN, Solved, TicketState
from tests.unit.intake.builders import HELPER, HOUR, LEAD, NOW, STRANGER, act, dispatch, rating, ticket, ticket_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.intake.domain.ticket import Ticket

S = TicketState

ENTERPRISE: dict[str, Callable[[Ticket], object]] = {
    "supplement": lambda each: each.supplement("合同", NOW),
    "withdraw": lambda each: each.withdraw("不用了", NOW),
    "rate solved": lambda each: each.rate(rating(Solved.YES)),
    "rate not solved": lambda each: each.rate(rating(Solved.NO, 1)),
    "rate no view": lambda each: each.rate(rating(Solved.NO_VIEW, 3)),
    "reopen": lambda each: each.reopen("又坏了", NOW),
    "close": lambda each: each.close(NOW),
}
"""What raises when the state does not allow it."""

ALLOWED = {
    "supplement": {S.AWAITING_SUPPLEMENT: S.ACCEPTED},
    "withdraw": dict.fromkeys(OPEN, S.WITHDRAWN) | {S.WITHDRAWN: S.WITHDRAWN},
    "rate solved": {S.RESOLVED: S.CLOSED, S.CLOSED: S.CLOSED},
    "rate not solved": {S.RESOLVED: S.RESOLVED, S.CLOSED: S.CLOSED},
    "rate no view": {S.RESOLVED: S.CLOSED, S.CLOSED: S.CLOSED},
    "reopen": {S.RESOLVED: S.SUBMITTED, S.CLOSED: S.SUBMITTED},
    "close": {S.RESOLVED: S.CLOSED},
}

OTHERS: dict[str, Callable[[Ticket], object]] = {
    "dispatched anew": lambda each: each.dispatched(dispatch(each.dispatch_epoch + 1)),
    "dispatched again": lambda each: each.dispatched(dispatch(each.dispatch_epoch)),
    "sent to triage": lambda each: each.sent_to_triage(NOW),
    "accepted": lambda each: each.accepted(act(each.dispatch_epoch)),
    "accepted late": lambda each: each.accepted(act(each.dispatch_epoch - 1)),
    "supplement requested": lambda each: each.supplement_requested(act(each.dispatch_epoch, note="问题")),
    "supplement requested late": lambda each: each.supplement_requested(act(each.dispatch_epoch - 1, note="问题")),
    "resolved": lambda each: each.resolved(act(each.dispatch_epoch, note="已办结")),
    "resolved late": lambda each: each.resolved(act(each.dispatch_epoch - 1, note="已办结")),
    "told": lambda each: each.told("progress", act(each.dispatch_epoch)),
    "told late": lambda each: each.told("progress", act(each.dispatch_epoch - 1)),
    "declined": lambda each: each.declined("不归本市", NOW),
    "deadline": lambda each: each.deadline("due_time_set", NOW, NOW),
}
"""What never raises, since it may come too late."""

WORKED_ON = OPEN
CHANGES = {
    "dispatched anew": dict.fromkeys(OPEN, S.DISPATCHED),
    "sent to triage": dict.fromkeys(OPEN, S.AWAITING_TRIAGE),
    "accepted": {S.DISPATCHED: S.ACCEPTED},
    "supplement requested": dict.fromkeys((S.DISPATCHED, S.ACCEPTED), S.AWAITING_SUPPLEMENT),
    "resolved": dict.fromkeys(OPEN, S.RESOLVED),
    "told": {state: state for state in OPEN},
    "declined": dict.fromkeys(OPEN, S.DECLINED),
    "deadline": {state: state for state in OPEN},
}


@pytest.mark.parametrize("state", list(S))
@pytest.mark.parametrize("deed", ENTERPRISE)
def test_what_the_enterprise_does_is_possible_in_the_right_states_alone(deed: str, state: TicketState) -> None:
    before, after = ticket_in(state), ticket_in(state)
    after.ticket_id, after.number = before.ticket_id, before.number

    if state in ALLOWED[deed]:
        ENTERPRISE[deed](after)
        assert after.state is ALLOWED[deed][state]
    else:
        with pytest.raises(StateConflict) as caught:
            ENTERPRISE[deed](after)
        assert caught.value.state is state
        assert set(caught.value.allowed) == set(ALLOWED[deed]) - {S.WITHDRAWN}
        assert after == before


@pytest.mark.parametrize("state", list(S))
@pytest.mark.parametrize("news", OTHERS)
def test_what_others_tell_changes_a_ticket_in_the_right_states_alone(news: str, state: TicketState) -> None:
    before, after = ticket_in(state), ticket_in(state)
    after.ticket_id, after.number = before.ticket_id, before.number

    OTHERS[news](after)

    if state in CHANGES.get(news, {}):
        assert after.state is CHANGES[news][state]
        assert after.version == before.version + 1
    else:
        assert after == before


@pytest.mark.parametrize("deed", [*ENTERPRISE.values(), *OTHERS.values()])
@pytest.mark.parametrize("state", list(S))
def test_every_change_is_recorded_once_with_the_state_after_it(deed: Callable[[Ticket], object], state: TicketState) -> None:
    made = ticket_in(state)
    version = made.version

    try:
        deed(made)
    except StateConflict:
        assert made.changes == []
        return

    assert [(change.version, change.state, change.ticket_id) for change in made.changes] == [
        (version + i, made.state, made.ticket_id) for i in range(1, made.version - version + 1)
    ]
    assert made.version - version in {0, 1}


def test_a_submission_is_the_first_change() -> None:
    made = ticket()

    assert (made.version, made.state) == (1, S.SUBMITTED)


def test_a_dispatch_tells_who_leads_and_who_helps() -> None:
    made = ticket()

    made.dispatched(dispatch(helpers=(HELPER, STRANGER)))

    assert (made.lead_unit, made.co_handler_units, made.class_code, made.dispatch_epoch) == (LEAD, (HELPER, STRANGER), "c01", 1)
    assert (made.changes[-1].kind, made.changes[-1].unit, made.changes[-1].note) == ("dispatched", LEAD, "按类别派单")


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_a_dispatch_under_an_older_or_the_same_epoch_is_not_applied(epoch: int) -> None:
    made = ticket()
    made.dispatched(dispatch(2))

    made.dispatched(dispatch(epoch, lead=STRANGER))

    assert (made.lead_unit, made.dispatch_epoch, made.version) == (LEAD, 2, 2)


def test_epochs_may_have_gaps() -> None:
    made = ticket()
    made.dispatched(dispatch(1))

    made.dispatched(dispatch(7, lead=STRANGER))

    assert (made.lead_unit, made.dispatch_epoch) == (STRANGER, 7)


@pytest.mark.parametrize("leave", ["triage", "reopening"])
def test_while_nobody_holds_a_ticket_no_unit_leads_or_helps(leave: str) -> None:
    made = ticket_in(S.ACCEPTED if leave == "triage" else S.RESOLVED)

    if leave == "triage":
        made.sent_to_triage(NOW)
    else:
        made.reopen("又坏了", NOW)

    assert (made.lead_unit, made.co_handler_units) == (None, ())


@pytest.mark.parametrize("deed", [*ENTERPRISE, *OTHERS])
def test_a_question_stands_only_as_long_as_its_answer_is_awaited(deed: str) -> None:
    made = ticket_in(S.AWAITING_SUPPLEMENT)
    assert made.supplement_question == "请补充合同"

    try:
        {**ENTERPRISE, **OTHERS}[deed](made)
    except StateConflict:
        return

    assert (made.supplement_question != "") == (made.state is S.AWAITING_SUPPLEMENT)


def test_withdrawing_twice_is_told_by_the_answer() -> None:
    made = ticket()

    assert [made.withdraw("一", NOW), made.withdraw("二", NOW)] == [True, False]
    assert made.version == 2


@pytest.mark.parametrize("warning", ["due_time_near", "due_time_passed"])
def test_a_warning_of_a_clock_that_a_reopening_superseded_is_told_and_moves_nothing(warning: str) -> None:
    made = ticket()
    made.deadline("due_time_set", NOW + HOUR, NOW)

    made.deadline(warning, NOW, NOW)

    assert made.due_time == NOW + HOUR
    assert made.changes[-1].kind == warning


@pytest.mark.parametrize("end", ["withdraw", "decline"])
def test_a_ticket_that_ended_early_is_due_no_more(end: str) -> None:
    made = ticket()
    made.deadline("due_time_set", NOW + HOUR, NOW)

    if end == "withdraw":
        made.withdraw("", NOW)
    else:
        made.declined("", NOW)

    assert made.due_time is None


@pytest.mark.parametrize(
    ("solved", "closes"),
    [(Solved.YES, [True, False]), (Solved.NO_VIEW, [True, False]), (Solved.NO, [False, False])],
)
def test_a_rating_closes_once_unless_it_says_not_solved(solved: Solved, closes: list[bool]) -> None:
    made = ticket_in(S.RESOLVED)

    assert [made.rate(rating(solved)), made.rate(rating(solved))] == closes


def test_a_later_rating_replaces_the_earlier() -> None:
    made = ticket_in(S.RESOLVED)
    later = rating(Solved.NO, 1, NOW + HOUR)

    made.rate(rating(Solved.YES, 5))
    made.rate(later)

    assert made.rating == later
    assert made.state is S.CLOSED


def test_a_reopened_ticket_forgets_result_rating_and_due_time() -> None:
    made = ticket_in(S.RESOLVED)
    made.due_time = NOW + HOUR
    made.rate(rating())

    made.reopen("又坏了", NOW + HOUR)

    assert (made.resolution, made.resolve_time, made.rating, made.due_time, made.reopen_count) == ("", None, None, None, 1)
    assert made.dispatch_epoch == 1


@pytest.mark.parametrize(
    ("after", "possible"), [(timedelta(0), True), (REOPEN_WINDOW - timedelta.resolution, True), (REOPEN_WINDOW, False)]
)
def test_reopening_is_possible_for_thirty_days_exclusive(after: timedelta, *, possible: bool) -> None:
    made = ticket_in(S.RESOLVED)

    if possible:
        made.reopen("又坏了", NOW + after)
        assert made.state is S.SUBMITTED
    else:
        with pytest.raises(ReopenWindowOver) as caught:
            made.reopen("又坏了", NOW + after)
        assert caught.value.until == NOW + REOPEN_WINDOW
        assert made.state is S.RESOLVED


def test_the_window_is_counted_from_the_latest_resolution() -> None:
    made = ticket_in(S.RESOLVED)
    made.reopen("又坏了", NOW + timedelta(days=29))
    made.dispatched(dispatch(2))
    made.resolved(act(2, note="又办结", at=NOW + timedelta(days=40)))

    made.reopen("还是坏的", NOW + timedelta(days=69))

    assert made.reopen_count == 2


def test_the_time_of_the_last_change_never_goes_back() -> None:
    made = ticket()

    made.dispatched(dispatch(at=NOW + HOUR))
    made.accepted(act(at=NOW))

    assert made.update_time == NOW + HOUR
    assert made.changes[-1].occur_time == NOW


def reopened_once() -> Ticket:
    """A ticket that was resolved in epoch 1 and reopened, and has no lead unit yet."""
    made = ticket()
    made.dispatched(dispatch(1))
    made.resolved(act(1, note="已办结"))
    made.reopen("又坏了", NOW)
    made.changes.clear()
    return made


@pytest.mark.parametrize(
    "late",
    [
        lambda each: each.deadline("due_time_extended", NOW + HOUR, NOW, 0),
        lambda each: each.deadline("due_time_near", NOW + HOUR, NOW, 0),
        lambda each: each.resolved(act(1, note="已办结")),
        lambda each: each.accepted(act(1)),
        lambda each: each.told("progress", act(1)),
        lambda each: each.sent_to_triage(NOW, 0),
    ],
    ids=["extension", "warning", "resolution", "acceptance", "progress", "triage"],
)
def test_late_news_of_a_finished_cycle_change_nothing(late: Callable[[Ticket], object]) -> None:
    made = reopened_once()

    late(made)

    assert (made.state, made.due_time, made.changes) == (S.SUBMITTED, None, [])


def test_the_clock_of_the_new_cycle_sets_the_due_time() -> None:
    made = reopened_once()

    made.deadline("due_time_set", NOW + HOUR, NOW, 1)

    assert made.due_time == NOW + HOUR


def test_a_triage_that_is_redriven_after_the_desk_decided_changes_nothing() -> None:
    made = ticket()
    made.sent_to_triage(NOW, 0)
    made.sent_to_triage(NOW, 0)
    made.dispatched(dispatch(1))

    made.sent_to_triage(NOW, 0)

    assert (made.state, made.lead_unit) == (S.DISPATCHED, LEAD)
    assert [change.kind for change in made.changes][-2:] == ["sent_to_triage", "dispatched"]
    assert [change.kind for change in made.changes].count("sent_to_triage") == 1


def test_a_triage_after_a_return_and_one_after_a_reopening_are_shown() -> None:
    returned, reopened = ticket(), reopened_once()
    returned.dispatched(dispatch(1))

    returned.sent_to_triage(NOW, 1)
    reopened.sent_to_triage(NOW, 1)

    assert [each.state for each in (returned, reopened)] == [S.AWAITING_TRIAGE] * 2


def test_a_triage_of_a_release_without_epochs_is_shown() -> None:
    made = ticket()
    made.dispatched(dispatch(1))

    made.sent_to_triage(NOW)

    assert made.state is S.AWAITING_TRIAGE
