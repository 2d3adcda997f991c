from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from services.dispatcher.domain.commands import WithdrawTicket
from services.dispatcher.domain.dispatch import Dispatch
from services.dispatcher.domain.errors import (
    DecisionIsFinal,
    DispatchNotFound,
    InvalidFields,
    NoPendingExtension,
    NotLeadUnit,
    PastDue,
    StaleEpoch,
    StateConflict,
)
from services.dispatcher.domain.events import DeadlineMoved, ExtensionSettled, KeepingLearned, LeadAssigned, LeadReleased, LeadReturned
from services.dispatcher.domain.values import (
    DUTY_DESK,
    CancelReason,
    DeadlineChange,
    Extension,
    Method,
    ReturnReason,
    State,
    Supplement,
    TriageReason,
    UnitCode,
)
from tests.unit.dispatcher.builders import (
    FINANCE,
    INDUSTRY,
    MARKET,
    NOON,
    POLICY,
    SECOND,
    TICKET_ID,
    YUZHONG,
    classification,
    decision,
    dispatched,
    names,
    submitted,
    ticket,
)

if TYPE_CHECKING:
    from collections.abc import Callable

EXTENSION = Extension(workdays=3, reason="等检测报告", request_time=NOON)
SUPPLEMENT = Supplement(text="见附件", attachment_refs=("a.pdf",), supplement_time=NOON)


def returned(dispatch: Dispatch, to: str | None, *, reason: TriageReason = TriageReason.RETURNED) -> None:
    dispatch.give_back(
        decision(to, method=Method.SUGGESTION, reason=reason, epoch=dispatch.epoch + 1),
        reason=ReturnReason.NOT_OUR_COMPETENCE,
        suggested=to or "",
        note="不归我们",
        policy=POLICY,
    )


def held_by_duty_desk(reason: TriageReason = TriageReason.UNSURE) -> Dispatch:
    dispatch = submitted()
    dispatch.decide(decision(None, reason=reason), policy=POLICY)
    dispatch.fall_back(decision(DUTY_DESK, method=Method.FALLBACK, class_code=None, at=NOON + 40 * SECOND))
    dispatch.pull_events()
    return dispatch


def test_a_submitted_ticket_waits_for_its_classification_until_the_rules_turn() -> None:
    dispatch = submitted()

    assert dispatch.state is State.PENDING
    assert dispatch.awaits_classification
    assert dispatch.next_action_time == NOON + 15 * SECOND


@pytest.mark.parametrize(("late", "wait"), [(14, 2), (30, 2), (59, 2), (60, 15), (600, 15)])
def test_a_ticket_that_is_read_late_still_waits_for_its_classification_longer_when_its_minute_is_over(late: int, wait: int) -> None:
    dispatch = Dispatch(ticket_id=TICKET_ID)

    dispatch.submit(ticket(), now=NOON + late * SECOND, policy=POLICY)

    assert dispatch.next_action_time == NOON + (late + wait) * SECOND


def test_a_repeated_submission_changes_nothing() -> None:
    dispatch = dispatched()

    early = dispatch.submit(ticket(text="另一段"), now=NOON, policy=POLICY)

    assert early == ()
    assert dispatch.state is State.DISPATCHED
    assert dispatch.pull_events() == []


def test_what_came_before_the_ticket_is_given_back_once_in_its_order() -> None:
    dispatch = Dispatch(ticket_id=TICKET_ID)
    first = WithdrawTicket(ticket_id=TICKET_ID, reason="一")
    second = WithdrawTicket(ticket_id=TICKET_ID, reason="二")
    dispatch.hear_early(first)
    dispatch.hear_early(second)

    early = dispatch.submit(ticket(), now=NOON, policy=POLICY)

    assert early == (first, second)
    assert dispatch.early == ()


def test_a_decision_makes_its_unit_the_lead_of_the_first_epoch() -> None:
    dispatch = submitted()

    dispatch.decide(decision(INDUSTRY, co_handlers=(YUZHONG,)), policy=POLICY)

    [event] = dispatch.pull_events()
    assert isinstance(event, LeadAssigned)
    assert (dispatch.epoch, dispatch.state, dispatch.next_action_time) == (1, State.DISPATCHED, None)
    assert event.assignment.participants == (INDUSTRY, YUZHONG)


def test_a_second_decision_is_refused() -> None:
    dispatch = dispatched()

    with pytest.raises(StateConflict):
        dispatch.decide(decision(MARKET), policy=POLICY)

    assert dispatch.assignment is not None
    assert dispatch.assignment.lead == INDUSTRY


def test_an_undecided_ticket_waits_for_the_desk_until_forty_seconds_after_its_submission() -> None:
    dispatch = submitted()

    dispatch.decide(decision(None, reason=TriageReason.UNSURE, at=NOON + SECOND), policy=POLICY)

    assert dispatch.state is State.AWAITING_TRIAGE
    assert dispatch.next_action_time == NOON + 40 * SECOND
    assert names(dispatch.pull_events()) == ["SentToTriage"]


def test_a_late_classification_decides_only_while_nothing_else_did() -> None:
    unanswered = submitted()
    unanswered.decide(decision(None, reason=TriageReason.NO_CLASSIFICATION), policy=POLICY)
    unsure = submitted()
    unsure.decide(decision(None, reason=TriageReason.UNSURE), policy=POLICY)

    assert unanswered.awaits_classification
    assert not unsure.awaits_classification
    assert not dispatched(method=Method.RULES).awaits_classification
    assert not held_by_duty_desk(TriageReason.NO_CLASSIFICATION).awaits_classification


def test_a_late_classification_that_is_unsure_only_improves_the_guesses() -> None:
    dispatch = submitted()
    dispatch.decide(decision(None, reason=TriageReason.NO_CLASSIFICATION, at=NOON + 15 * SECOND), policy=POLICY)
    dispatch.pull_events()

    dispatch.decide(decision(None, reason=TriageReason.UNSURE, at=NOON + 20 * SECOND), policy=POLICY)

    assert names(dispatch.pull_events()) == ["GuessesImproved"]
    assert dispatch.triage is not None
    assert dispatch.triage.reason is TriageReason.UNSURE
    assert dispatch.triage.since == NOON + 15 * SECOND
    assert dispatch.next_action_time == NOON + 40 * SECOND


def test_the_duty_desk_leads_what_nobody_decided_and_the_item_stays_open() -> None:
    dispatch = held_by_duty_desk()

    assert dispatch.assignment is not None
    assert (dispatch.assignment.lead, dispatch.assignment.method) == (DUTY_DESK, Method.FALLBACK)
    assert dispatch.state is State.DISPATCHED
    assert dispatch.triage is not None
    assert dispatch.triage.fallback_time == NOON + 40 * SECOND
    assert dispatch.next_action_time is None


def test_the_desks_decision_ends_the_duty_desks_assignment_with_a_new_epoch() -> None:
    dispatch = held_by_duty_desk()

    dispatch.assign_by_desk(decision(MARKET, method=Method.TRIAGE, epoch=2), note="请从速")

    released, assigned = dispatch.pull_events()
    assert isinstance(released, LeadReleased)
    assert (released.assignment.lead, released.reason) == (DUTY_DESK, CancelReason.TRANSFERRED)
    assert isinstance(assigned, LeadAssigned)
    assert (assigned.assignment.epoch, assigned.assignment.lead, assigned.assignment.note, assigned.final) == (2, MARKET, "请从速", False)
    assert dispatch.triage is None


def test_two_people_at_the_desk_cannot_both_decide() -> None:
    dispatch = held_by_duty_desk()
    dispatch.assign_by_desk(decision(MARKET, method=Method.TRIAGE, epoch=2), note="")

    with pytest.raises(StateConflict):
        dispatch.assign_by_desk(decision(FINANCE, method=Method.TRIAGE, epoch=3), note="")
    with pytest.raises(StateConflict):
        dispatch.decline(decision(None), reason="不归本市", right_channel="12366")

    assert dispatch.leads == (DUTY_DESK, MARKET)


def test_a_declined_ticket_is_taken_from_the_duty_desk_and_closed() -> None:
    dispatch = held_by_duty_desk()

    dispatch.decline(decision(None, epoch=1), reason="个人事务", right_channel="12345市民热线")

    assert names(dispatch.pull_events()) == ["LeadReleased", "TicketDeclined"]
    assert dispatch.state is State.DECLINED
    assert dispatch.triage is None


def test_accepting_twice_changes_nothing() -> None:
    dispatch = dispatched()
    dispatch.accept(INDUSTRY, 1, now=NOON)
    dispatch.pull_events()

    dispatch.accept(INDUSTRY, 1, now=NOON + SECOND)

    assert dispatch.pull_events() == []
    assert dispatch.state is State.ACCEPTED


def test_an_acceptance_that_arrives_after_the_resolution_changes_nothing() -> None:
    dispatch = dispatched()
    dispatch.resolve(INDUSTRY, 1, "已恢复供电", (), now=NOON)
    dispatch.pull_events()

    dispatch.accept(INDUSTRY, 1, now=NOON + SECOND)

    assert dispatch.pull_events() == []
    assert dispatch.state is State.RESOLVED


Action = "Callable[[Dispatch, UnitCode, int], object]"
ACTIONS = {
    "accept": lambda dispatch, unit, epoch: dispatch.accept(unit, epoch, now=NOON),
    "return": lambda dispatch, unit, epoch: dispatch.check_return(unit, epoch),
    "ask": lambda dispatch, unit, epoch: dispatch.ask_enterprise(unit, epoch, "请补充", now=NOON),
    "extend": lambda dispatch, unit, epoch: dispatch.ask_extension(unit, epoch, EXTENSION),
    "report": lambda dispatch, unit, epoch: dispatch.report(unit, epoch, "已联系", now=NOON),
    "resolve": lambda dispatch, unit, epoch: dispatch.resolve(unit, epoch, "已办", (), now=NOON),
}
every_action = pytest.mark.parametrize("act", ACTIONS.values(), ids=ACTIONS)


@every_action
def test_a_unit_that_never_led_learns_nothing_of_a_ticket(act: Callable[[Dispatch, UnitCode, int], object]) -> None:
    dispatch = dispatched()

    with pytest.raises(DispatchNotFound):
        act(dispatch, MARKET, 1)

    assert dispatch.pull_events() == []


@every_action
def test_a_co_handler_does_not_act_for_the_lead(act: Callable[[Dispatch, UnitCode, int], object]) -> None:
    dispatch = dispatched(co_handlers=(YUZHONG,))

    with pytest.raises(NotLeadUnit):
        act(dispatch, YUZHONG, 1)


@every_action
def test_the_former_lead_is_told_that_its_epoch_is_over(act: Callable[[Dispatch, UnitCode, int], object]) -> None:
    dispatch = dispatched()
    dispatch.transfer(decision(MARKET, method=Method.TRANSFER, epoch=2), note="转")

    with pytest.raises(StaleEpoch) as refused:
        act(dispatch, INDUSTRY, 1)

    assert refused.value.active_epoch == 2


@every_action
def test_an_epoch_that_does_not_exist_is_refused(act: Callable[[Dispatch, UnitCode, int], object]) -> None:
    dispatch = dispatched()

    with pytest.raises(StaleEpoch):
        act(dispatch, INDUSTRY, 2)


@every_action
def test_a_former_lead_cannot_name_anothers_epoch(act: Callable[[Dispatch, UnitCode, int], object]) -> None:
    dispatch = dispatched()
    dispatch.transfer(decision(MARKET, method=Method.TRANSFER, epoch=2), note="转")

    with pytest.raises(DispatchNotFound):
        act(dispatch, INDUSTRY, 2)


@every_action
def test_a_unit_that_returned_finds_the_ticket_with_the_desk(act: Callable[[Dispatch, UnitCode, int], object]) -> None:
    dispatch = dispatched()
    returned(dispatch, None)

    with pytest.raises(StateConflict) as refused:
        act(dispatch, INDUSTRY, 1)

    assert refused.value.state is State.AWAITING_TRIAGE


@every_action
def test_nothing_can_be_done_with_a_withdrawn_ticket(act: Callable[[Dispatch, UnitCode, int], object]) -> None:
    dispatch = dispatched()
    dispatch.withdraw("不需要了", now=NOON)

    with pytest.raises(StateConflict):
        act(dispatch, INDUSTRY, 1)


@pytest.mark.parametrize("accepted", [False, True])
def test_a_return_ends_the_assignment_before_the_next_begins(*, accepted: bool) -> None:
    dispatch = dispatched()
    if accepted:
        dispatch.accept(INDUSTRY, 1, now=NOON)
        dispatch.pull_events()

    returned(dispatch, MARKET)

    events = dispatch.pull_events()
    assert names(events) == ["KeepingLearned", "LeadReleased", "LeadReturned", "LeadAssigned"]
    assert isinstance(events[2], LeadReturned)
    assert (events[2].bounce_count, events[2].epoch) == (1, 1)
    assert dispatch.assignment is not None
    assert (dispatch.assignment.lead, dispatch.epoch, dispatch.accepted) == (MARKET, 2, False)


def test_a_return_without_a_valid_suggestion_waits_for_the_desk_for_forty_seconds() -> None:
    dispatch = dispatched()

    dispatch.give_back(
        decision(None, reason=TriageReason.RETURNED, at=NOON + timedelta(hours=5)),
        reason=ReturnReason.INSUFFICIENT_INFORMATION,
        suggested="",
        note="看不懂",
        policy=POLICY,
    )

    assert dispatch.assignment is None
    assert dispatch.triage is not None
    assert dispatch.triage.return_note == "看不懂"
    assert dispatch.next_action_time == NOON + timedelta(hours=5) + 40 * SECOND


@pytest.mark.parametrize(
    ("suggested", "expected"),
    [
        (MARKET, None),
        (None, TriageReason.RETURNED),
        (INDUSTRY, TriageReason.RETURNED),
        (DUTY_DESK, TriageReason.RETURNED),
    ],
)
def test_a_suggestion_is_followed_if_it_names_another_unit(suggested: UnitCode | None, expected: TriageReason | None) -> None:
    assert dispatched().after_return(INDUSTRY, suggested, POLICY) is expected


def test_a_circle_goes_to_the_arbiter() -> None:
    dispatch = dispatched()
    returned(dispatch, MARKET)

    assert dispatch.after_return(MARKET, INDUSTRY, POLICY) is TriageReason.BOUNCED


def test_the_last_return_of_the_budget_goes_to_the_arbiter_whatever_is_suggested() -> None:
    dispatch = dispatched()
    returned(dispatch, MARKET)
    assert dispatch.after_return(MARKET, FINANCE, POLICY) is None
    returned(dispatch, FINANCE)

    assert dispatch.after_return(FINANCE, UnitCode("kjj"), POLICY) is TriageReason.BOUNCED


def test_what_the_arbiter_decides_is_final() -> None:
    dispatch = dispatched()
    returned(dispatch, None, reason=TriageReason.BOUNCED)
    dispatch.assign_by_desk(decision(INDUSTRY, method=Method.TRIAGE, epoch=2), note="就是你")

    with pytest.raises(DecisionIsFinal):
        dispatch.check_return(INDUSTRY, 2)

    assert dispatch.final
    dispatch.pull_events()
    dispatch.accept(INDUSTRY, 2, now=NOON)
    assert names(dispatch.pull_events()) == ["LeadAccepted"]


def test_a_bounced_ticket_that_the_duty_desk_solved_itself_stays_decided_when_reopened() -> None:
    dispatch = held_by_duty_desk(TriageReason.BOUNCED)
    dispatch.resolve(DUTY_DESK, 1, "已电话协调解决", (), now=NOON)
    dispatch.reopen(decision(DUTY_DESK, method=Method.REOPEN, epoch=2), note="", policy=POLICY)

    dispatch.transfer(decision(MARKET, method=Method.TRANSFER, epoch=3), note="转")

    with pytest.raises(DecisionIsFinal):
        dispatch.check_return(MARKET, 3)


def test_the_duty_desks_own_return_is_a_decision_and_costs_no_bounce() -> None:
    dispatch = held_by_duty_desk(TriageReason.BOUNCED)

    assert dispatch.after_return(DUTY_DESK, MARKET, POLICY) is None
    returned(dispatch, MARKET)

    assert dispatch.bounce_count == 0
    assert dispatch.final
    assert dispatch.assignment is not None
    assert dispatch.assignment.lead == MARKET


def test_a_unit_is_learned_about_once_and_what_it_kept_is_taken_back_when_it_returns() -> None:
    dispatch = dispatched()
    dispatch.accept(INDUSTRY, 1, now=NOON)
    kept = [event.evidence for event in dispatch.pull_events() if isinstance(event, KeepingLearned)]
    returned(dispatch, MARKET)
    given_back = [event.evidence for event in dispatch.pull_events() if isinstance(event, KeepingLearned)]

    assert [(each.unit, each.kept, each.returned) for each in kept] == [(INDUSTRY, 1, 0)]
    assert [(each.unit, each.kept, each.returned) for each in given_back] == [(INDUSTRY, -1, 1)]


def test_a_wrong_district_says_nothing_against_the_unit() -> None:
    dispatch = dispatched()

    dispatch.give_back(
        decision("500102", method=Method.SUGGESTION, epoch=2),
        reason=ReturnReason.WRONG_DISTRICT,
        suggested="500102",
        note="",
        policy=POLICY,
    )

    assert "KeepingLearned" not in names(dispatch.pull_events())


def test_the_enterprise_is_asked_once_at_a_time() -> None:
    dispatch = dispatched()
    dispatch.ask_enterprise(INDUSTRY, 1, "户号?", now=NOON)

    dispatch.ask_enterprise(INDUSTRY, 1, "户号?", now=NOON)
    with pytest.raises(StateConflict):
        dispatch.ask_enterprise(INDUSTRY, 1, "地址?", now=NOON)

    assert names(dispatch.pull_events()) == ["LeadAccepted", "KeepingLearned", "SupplementAsked"]


def test_whoever_asks_the_enterprise_has_signed_for_the_ticket() -> None:
    dispatch = dispatched()

    dispatch.ask_enterprise(INDUSTRY, 1, "户号?", now=NOON)

    assert names(dispatch.pull_events()) == ["LeadAccepted", "KeepingLearned", "SupplementAsked"]
    assert dispatch.state is State.AWAITING_SUPPLEMENT


def test_the_answer_of_the_enterprise_puts_the_ticket_back_to_work() -> None:
    dispatch = dispatched()
    dispatch.ask_enterprise(INDUSTRY, 1, "户号?", now=NOON)
    dispatch.pull_events()

    dispatch.deliver(SUPPLEMENT, now=NOON)

    assert dispatch.state is State.ACCEPTED
    assert names(dispatch.pull_events()) == ["SupplementArrived"]


def test_the_next_lead_gets_what_the_enterprise_added_before() -> None:
    dispatch = dispatched()
    returned(dispatch, None)
    dispatch.deliver(SUPPLEMENT, now=NOON)
    dispatch.pull_events()

    dispatch.assign_by_desk(decision(MARKET, method=Method.TRIAGE, epoch=2), note="")

    [assigned] = dispatch.pull_events()
    assert isinstance(assigned, LeadAssigned)
    assert assigned.supplements == (SUPPLEMENT,)


def test_a_resolution_counts_as_an_acceptance_too() -> None:
    dispatch = dispatched()

    dispatch.resolve(INDUSTRY, 1, "已恢复供电", ("a.pdf",), now=NOON)

    assert names(dispatch.pull_events()) == ["LeadAccepted", "KeepingLearned", "LeadResolved"]


def test_the_same_resolution_again_changes_nothing_and_another_is_refused() -> None:
    dispatch = dispatched()
    dispatch.resolve(INDUSTRY, 1, "已恢复供电", (), now=NOON)
    dispatch.pull_events()

    dispatch.resolve(INDUSTRY, 1, "已恢复供电", (), now=NOON)
    with pytest.raises(StateConflict):
        dispatch.resolve(INDUSTRY, 1, "另一种说法", (), now=NOON)

    assert dispatch.pull_events() == []


def test_a_reopened_ticket_goes_back_to_the_unit_that_resolved_it_in_a_new_epoch() -> None:
    dispatch = dispatched()
    dispatch.deliver(SUPPLEMENT, now=NOON)
    dispatch.resolve(INDUSTRY, 1, "已办", (), now=NOON)
    dispatch.pull_events()

    dispatch.reopen(decision(INDUSTRY, method=Method.REOPEN, epoch=2), note="", policy=POLICY)

    [event] = dispatch.pull_events()
    assert isinstance(event, LeadAssigned)
    assert (event.assignment.epoch, event.assignment.lead, event.supplements) == (2, INDUSTRY, ())
    assert dispatch.resolution == ""


@pytest.mark.parametrize("state", [State.PENDING, State.DISPATCHED, State.WITHDRAWN])
def test_only_a_resolved_ticket_is_reopened(state: State) -> None:
    dispatch = submitted() if state is State.PENDING else dispatched()
    if state is State.WITHDRAWN:
        dispatch.withdraw("", now=NOON)

    with pytest.raises(StateConflict):
        dispatch.reopen(decision(INDUSTRY, method=Method.REOPEN, epoch=2), note="", policy=POLICY)


def test_a_withdrawal_holds_in_any_state_and_once() -> None:
    pending, led = submitted(), dispatched()
    for dispatch in (pending, led):
        dispatch.withdraw("不需要了", now=NOON)
        dispatch.withdraw("不需要了", now=NOON)

    assert names(pending.pull_events()) == []
    assert names(led.pull_events()) == ["LeadReleased"]
    assert (pending.state, pending.next_action_time) == (State.WITHDRAWN, None)
    assert not pending.awaits_classification


def test_a_transfer_names_the_epoch_that_the_desk_saw_and_another_unit() -> None:
    dispatch = dispatched()

    with pytest.raises(StaleEpoch):
        dispatch.check_transfer(7, MARKET)
    with pytest.raises(InvalidFields):
        dispatch.check_transfer(1, INDUSTRY)

    assert dispatch.check_transfer(1, MARKET).lead == INDUSTRY


def test_a_transfer_of_a_bounced_ticket_is_the_arbiters_decision() -> None:
    dispatch = held_by_duty_desk(TriageReason.BOUNCED)

    dispatch.transfer(decision(MARKET, method=Method.TRANSFER, epoch=2), note="转")

    assert dispatch.final


@pytest.mark.parametrize(
    ("granted", "workdays", "expected"),
    [(True, 0, 3), (True, 5, 5), (False, 5, 0)],
)
def test_an_extension_is_granted_as_asked_or_as_the_desk_says(*, granted: bool, workdays: int, expected: int) -> None:
    dispatch = dispatched()
    dispatch.ask_extension(INDUSTRY, 1, EXTENSION)
    dispatch.pull_events()

    dispatch.settle_extension(granted=granted, workdays=workdays, note="", now=NOON)

    [event] = dispatch.pull_events()
    assert isinstance(event, ExtensionSettled)
    assert (event.granted, event.workdays) == (granted, expected)
    assert dispatch.pending_extension is None


def test_no_extension_is_granted_at_or_after_the_due_time_but_it_can_be_refused() -> None:
    dispatch = dispatched()
    dispatch.note_deadline(DeadlineChange.SET, NOON + SECOND, now=NOON)
    dispatch.ask_extension(INDUSTRY, 1, EXTENSION)

    with pytest.raises(PastDue):
        dispatch.settle_extension(granted=True, workdays=0, note="", now=NOON + SECOND)
    dispatch.settle_extension(granted=False, workdays=0, note="", now=NOON + SECOND)

    assert dispatch.pending_extension is None


def test_an_extension_that_nobody_asked_for_cannot_be_decided() -> None:
    with pytest.raises(NoPendingExtension):
        dispatched().settle_extension(granted=True, workdays=1, note="", now=NOON)


def test_a_wish_for_more_time_ends_with_the_assignment() -> None:
    dispatch = dispatched()
    dispatch.ask_extension(INDUSTRY, 1, EXTENSION)

    returned(dispatch, MARKET)

    assert dispatch.pending_extension is None


@pytest.mark.parametrize("change", list(DeadlineChange))
def test_the_lead_hears_of_the_due_time_as_long_as_it_matters(change: DeadlineChange) -> None:
    dispatch = dispatched()
    dispatch.note_deadline(DeadlineChange.SET, NOON, now=NOON)
    dispatch.pull_events()

    dispatch.note_deadline(change, NOON, now=NOON)

    announced = [event for event in dispatch.pull_events() if isinstance(event, DeadlineMoved)]
    assert bool(announced) is (change not in {DeadlineChange.MET, DeadlineChange.CANCELLED})


@pytest.mark.parametrize("warning", [DeadlineChange.AT_RISK, DeadlineChange.BREACHED])
def test_a_warning_of_a_clock_that_a_reopening_superseded_moves_nothing_and_is_told_to_nobody(warning: DeadlineChange) -> None:
    dispatch = dispatched()
    dispatch.note_deadline(DeadlineChange.SET, NOON + timedelta(days=3), now=NOON)
    dispatch.pull_events()

    dispatch.note_deadline(warning, NOON, now=NOON)

    assert dispatch.due_time == NOON + timedelta(days=3)
    assert dispatch.pull_events() == []


def test_a_due_time_that_is_known_before_the_dispatch_goes_with_it() -> None:
    dispatch = submitted()
    dispatch.note_deadline(DeadlineChange.SET, NOON + timedelta(days=3), now=NOON)

    dispatch.decide(decision(INDUSTRY), policy=POLICY)

    [event] = dispatch.pull_events()
    assert isinstance(event, LeadAssigned)
    assert event.due_time == NOON + timedelta(days=3)


def test_a_met_deadline_keeps_its_due_time_and_a_cancelled_one_loses_it() -> None:
    dispatch = dispatched()
    dispatch.note_deadline(DeadlineChange.SET, NOON, now=NOON)
    dispatch.note_deadline(DeadlineChange.MET, None, now=NOON)
    met = dispatch.due_time

    dispatch.note_deadline(DeadlineChange.CANCELLED, None, now=NOON)

    assert met == NOON
    assert dispatch.due_time is None


def test_only_the_latest_twenty_supplements_are_kept() -> None:
    dispatch = dispatched()

    for number in range(25):
        dispatch.deliver(replace(SUPPLEMENT, text=str(number)), now=NOON)

    assert [each.text for each in dispatch.supplements] == [str(number) for number in range(5, 25)]


def test_the_latest_classification_is_kept_whatever_it_can_still_do() -> None:
    dispatch = dispatched()

    dispatch.classify(classification(("tax_filing", 0.9)))

    assert dispatch.classification == classification(("tax_filing", 0.9))
    assert dispatch.pull_events() == []
