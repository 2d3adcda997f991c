"""Whatever units, desk, enterprise, classifier and clock do, in whatever order, the promises about one ticket hold."""

from __future__ import annotations

import copy
import itertools
from datetime import timedelta
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.dispatcher.domain.dispatch import Dispatch
from services.dispatcher.domain.errors import DispatcherError
from services.dispatcher.domain.events import LeadAssigned, LeadReleased, LeadResolved, LeadReturned
from services.dispatcher.domain.values import (
    DUTY_DESK,
    IN_HAND,
    DeadlineChange,
    Extension,
    Method,
    ReturnReason,
    State,
    Supplement,
    TriageReason,
    UnitCode,
)
from tests.unit.dispatcher.builders import NOON, POLICY, TICKET_ID, classification, decision, ticket

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.dispatcher.domain.events import Event

UNITS = [UnitCode(code) for code in ("jjxxw", "scjgj", "czj", "kjj", "500103", DUTY_DESK)]
units = st.sampled_from(UNITS)
epochs = st.integers(min_value=0, max_value=6)
triage_reasons = st.sampled_from(TriageReason)
return_reasons = st.sampled_from(ReturnReason)


class DispatchMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.dispatch = Dispatch(ticket_id=TICKET_ID)
        self.clock = itertools.count(1)
        self.holders: list[UnitCode] = []  # units that were given the ticket and not released from it
        self.epochs: list[int] = []
        self.unit_returns = 0
        self.was_final = False

    def now(self) -> timedelta:
        return timedelta(seconds=next(self.clock))

    def attempt(self, act: Callable[[Dispatch], object]) -> None:
        """Act; a refusal must leave everything as it was. Then follow what happened as a unit outside would."""
        before = copy.deepcopy(self.dispatch)
        try:
            act(self.dispatch)
        except DispatcherError:
            assert self.dispatch == before
            assert self.dispatch.pull_events() == []
        for event in self.dispatch.pull_events():
            self.follow(event)

    def follow(self, event: Event) -> None:
        match event:
            case LeadAssigned():
                assert self.holders == [], "a second lead while the first still has it"
                assert event.assignment.epoch == len(self.epochs) + 1
                self.epochs.append(event.assignment.epoch)
                self.holders = [event.assignment.lead]
            case LeadReleased():
                assert self.holders == [event.assignment.lead]
                assert event.assignment.epoch == self.epochs[-1]
                self.holders = []
            case LeadReturned():
                assert not self.was_final, "a final decision was returned"
                self.unit_returns += event.unit != DUTY_DESK
            case LeadResolved():
                assert event.epoch == self.epochs[-1]
            case _:
                pass

    @initialize()
    def submit(self) -> None:
        self.dispatch.submit(ticket(), now=NOON, policy=POLICY)

    @rule(unit=units)
    def machine_decides(self, unit: UnitCode) -> None:
        at = NOON + self.now()
        self.attempt(lambda d: d.decide(decision(unit, at=at, epoch=d.epoch + 1), policy=POLICY))

    @rule(reason=triage_reasons)
    def machine_is_unsure(self, reason: TriageReason) -> None:
        at = NOON + self.now()
        self.attempt(lambda d: d.decide(decision(None, reason=reason, at=at), policy=POLICY))

    @rule()
    def time_runs_out(self) -> None:
        at = NOON + self.now()
        self.attempt(lambda d: d.fall_back(decision(DUTY_DESK, method=Method.FALLBACK, class_code=None, at=at)))

    @rule(unit=units)
    def desk_decides(self, unit: UnitCode) -> None:
        at = NOON + self.now()
        self.attempt(lambda d: d.assign_by_desk(decision(unit, method=Method.TRIAGE, at=at), note=""))

    @rule()
    def desk_declines(self) -> None:
        self.attempt(lambda d: d.decline(decision(None), reason="不归本市", right_channel="12366"))

    @rule(unit=units, epoch=epochs)
    def desk_transfers(self, unit: UnitCode, epoch: int) -> None:
        def act(dispatch: Dispatch) -> None:
            dispatch.check_transfer(epoch, unit)
            dispatch.transfer(decision(unit, method=Method.TRANSFER), note="")

        self.attempt(act)

    @rule(unit=units, epoch=epochs)
    def unit_accepts(self, unit: UnitCode, epoch: int) -> None:
        self.attempt(lambda d: d.accept(unit, epoch, now=NOON))

    @rule(unit=units, epoch=epochs, reason=return_reasons, suggested=st.none() | units)
    def unit_returns_it(self, unit: UnitCode, epoch: int, reason: ReturnReason, suggested: UnitCode | None) -> None:
        def act(dispatch: Dispatch) -> None:
            dispatch.check_return(unit, epoch)
            triage = dispatch.after_return(unit, suggested, POLICY)
            to = suggested if triage is None else None
            made = decision(to, method=Method.SUGGESTION, reason=triage, at=NOON + self.now())
            dispatch.give_back(made, reason=reason, suggested=suggested or "", note="", policy=POLICY)

        self.attempt(act)

    @rule(unit=units, epoch=epochs, question=st.sampled_from(["一?", "二?"]))
    def unit_asks(self, unit: UnitCode, epoch: int, question: str) -> None:
        self.attempt(lambda d: d.ask_enterprise(unit, epoch, question, now=NOON))

    @rule(unit=units, epoch=epochs)
    def unit_wants_time(self, unit: UnitCode, epoch: int) -> None:
        self.attempt(lambda d: d.ask_extension(unit, epoch, Extension(workdays=2, reason="等", request_time=NOON)))

    @rule(granted=st.booleans())
    def desk_settles_time(self, *, granted: bool) -> None:
        self.attempt(lambda d: d.settle_extension(granted=granted, workdays=0, note="", now=NOON))

    @rule(unit=units, epoch=epochs)
    def unit_resolves(self, unit: UnitCode, epoch: int) -> None:
        self.attempt(lambda d: d.resolve(unit, epoch, "已办", (), now=NOON))

    @precondition(lambda self: self.dispatch.state is not State.RESOLVED or len(self.epochs) > 1)
    @rule()
    def enterprise_withdraws(self) -> None:
        self.attempt(lambda d: d.withdraw("", now=NOON))

    @rule()
    def enterprise_adds(self) -> None:
        added = Supplement(text="补充", attachment_refs=(), supplement_time=NOON)
        self.attempt(lambda d: d.deliver(added, now=NOON))

    @rule()
    def enterprise_reopens(self) -> None:
        def act(dispatch: Dispatch) -> None:
            lead = dispatch.leads[-1] if dispatch.leads else None
            before, resolved = list(self.holders), dispatch.state is State.RESOLVED
            if resolved:
                self.holders = []  # its work was done; reopening is no second lead
            try:
                dispatch.reopen(decision(lead, method=Method.REOPEN), note="", policy=POLICY)
            except DispatcherError:
                self.holders = before
                raise

        self.attempt(act)

    @rule()
    def classifier_answers_late(self) -> None:
        before = (self.dispatch.state, self.dispatch.epoch, self.dispatch.assignment)
        self.attempt(lambda d: d.classify(classification(("tax_filing", 0.9))))
        assert (self.dispatch.state, self.dispatch.epoch, self.dispatch.assignment) == before

    @rule(change=st.sampled_from(DeadlineChange))
    def deadline_moves(self, change: DeadlineChange) -> None:
        self.attempt(lambda d: d.note_deadline(change, None if change is DeadlineChange.PAUSED else NOON + timedelta(days=1), now=NOON))

    @invariant()
    def exactly_one_lead_while_someone_works_on_it(self) -> None:
        dispatch = self.dispatch
        if dispatch.state in IN_HAND:
            assert dispatch.assignment is not None
            assert self.holders == [dispatch.assignment.lead]
        if dispatch.state in {State.PENDING, State.AWAITING_TRIAGE, State.WITHDRAWN, State.DECLINED}:
            assert self.holders == []

    @invariant()
    def epochs_rise_one_by_one(self) -> None:
        assert self.epochs == list(range(1, self.dispatch.epoch + 1))
        assert len(self.dispatch.leads) == self.dispatch.epoch

    @invariant()
    def final_stays_final(self) -> None:
        assert self.dispatch.final or not self.was_final
        self.was_final = self.dispatch.final

    @invariant()
    def bounces_are_bounded(self) -> None:
        assert self.dispatch.bounce_count == self.unit_returns
        assert self.dispatch.bounce_count <= POLICY.bounce_budget

    @invariant()
    def whatever_waits_has_its_time(self) -> None:
        waits = self.dispatch.state in {State.PENDING, State.AWAITING_TRIAGE}
        assert (self.dispatch.next_action_time is not None) is waits
        if self.dispatch.state is State.AWAITING_TRIAGE:
            assert self.dispatch.triage is not None

    @invariant()
    def what_is_over_asks_for_nothing(self) -> None:
        if self.dispatch.state in {State.RESOLVED, State.WITHDRAWN, State.DECLINED}:
            assert self.dispatch.triage is None
            assert self.dispatch.pending_extension is None
            assert self.dispatch.supplement_question == ""


TestDispatchMachine = DispatchMachine.TestCase
TestDispatchMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
