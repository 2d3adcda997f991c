"""Whatever enterprise, units, desk and clock do, in whatever order, the promises about one ticket hold."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.intake.domain.errors import IntakeError
from services.intake.domain.types import ENDED, OPEN, Solved, TicketState, UnitCode
from tests.unit.intake.builders import NOW, act, dispatch, rating, ticket

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.intake.domain.ticket import Change, Ticket

units = st.sampled_from([UnitCode(code) for code in ("scjgj", "czj", "kjj", "500107")])
epochs = st.integers(min_value=0, max_value=8)
texts = st.sampled_from(["", "说明", "second"])
hours = st.integers(min_value=0, max_value=30 * 24 + 48).map(lambda n: timedelta(hours=n))
FINAL = {TicketState.WITHDRAWN, TicketState.DECLINED}


class TicketMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ticket = ticket()
        self.log: list[Change] = []
        self.now = NOW
        self.epochs = [0]
        self.reopened = 0

    @initialize()
    def submit(self) -> None:
        assert (self.ticket.version, self.ticket.state) == (1, TicketState.SUBMITTED)

    def attempt(self, deed: Callable[[Ticket], object]) -> bool:
        """Do something; a refusal must leave everything as it was. Return whether something changed."""
        before = copy.deepcopy(self.ticket)
        try:
            deed(self.ticket)
        except IntakeError:
            assert self.ticket == before, "a refusal changed the ticket"
            return False
        if self.ticket == before:
            return False
        changes = self.ticket.changes[len(before.changes) :]
        assert len(changes) == 1, "every change leaves one entry"
        assert self.ticket.version == before.version + 1
        assert changes[0].version == self.ticket.version
        assert changes[0].state is self.ticket.state
        assert before.state not in FINAL, "a final state was left"
        if before.state is TicketState.CLOSED and self.ticket.state is not TicketState.CLOSED:
            assert changes[0].kind == "reopened"
        self.log.append(changes[0])
        return True

    @rule(by=hours)
    def time_passes(self, by: timedelta) -> None:
        self.now += by

    @rule(epoch=epochs, unit=units, helper=units)
    def dispatched(self, epoch: int, unit: UnitCode, helper: UnitCode) -> None:
        changed = self.attempt(lambda each: each.dispatched(dispatch(epoch, lead=unit, helpers=(helper,), at=self.now)))
        if changed:
            assert epoch > self.epochs[-1], "an older epoch was applied"
            self.epochs.append(epoch)
            assert (self.ticket.lead_unit, self.ticket.dispatch_epoch) == (unit, epoch)

    @rule(epoch=epochs, unit=units, note=texts, deed=st.sampled_from(["accepted", "supplement_requested", "resolved"]))
    def unit_acts(self, epoch: int, unit: UnitCode, note: str, deed: str) -> None:
        current = self.ticket.dispatch_epoch
        changed = self.attempt(lambda each: getattr(each, deed)(act(epoch, unit=unit, note=note, at=self.now)))
        assert not changed or epoch == current, "an act under another epoch was applied"

    @precondition(lambda self: self.ticket.dispatch_epoch > 0)
    @rule(note=texts, deed=st.sampled_from(["accepted", "supplement_requested", "resolved"]))
    def the_present_lead_acts(self, note: str, deed: str) -> None:
        self.attempt(lambda each: getattr(each, deed)(act(each.dispatch_epoch, note=note, at=self.now)))

    @rule(epoch=epochs, kind=st.sampled_from(["progress", "returned", "extension_granted"]))
    def told(self, epoch: int, kind: str) -> None:
        state = self.ticket.state
        self.attempt(lambda each: each.told(kind, act(epoch, at=self.now)))
        assert self.ticket.state is state

    @rule()
    def sent_to_triage(self) -> None:
        self.attempt(lambda each: each.sent_to_triage(self.now))

    @rule(reason=texts)
    def declined(self, reason: str) -> None:
        self.attempt(lambda each: each.declined(reason, self.now))

    @rule(reason=texts)
    def withdrawn(self, reason: str) -> None:
        self.attempt(lambda each: each.withdraw(reason, self.now))

    @rule(text=texts)
    def supplemented(self, text: str) -> None:
        self.attempt(lambda each: each.supplement(text, self.now))

    @rule(solved=st.sampled_from(Solved), score=st.integers(min_value=1, max_value=5))
    def rated(self, solved: Solved, score: int) -> None:
        self.attempt(lambda each: each.rate(rating(solved, score, self.now)))

    @rule(reason=texts)
    def reopened_by_the_enterprise(self, reason: str) -> None:
        resolve_time = self.ticket.resolve_time
        if self.attempt(lambda each: each.reopen(reason, self.now)):
            self.reopened += 1
            assert resolve_time is not None
            assert self.now - resolve_time < timedelta(days=30)

    @rule()
    def closed_by_time(self) -> None:
        self.attempt(lambda each: each.close(self.now))

    @rule(due=st.none() | hours)
    def deadline(self, due: timedelta | None) -> None:
        self.attempt(lambda each: each.deadline("due_time_set", None if due is None else self.now + due, self.now))

    @invariant()
    def versions_count_the_changes(self) -> None:
        assert [change.version for change in self.log] == list(range(2, self.ticket.version + 1))

    @invariant()
    def epochs_only_rise(self) -> None:
        assert self.epochs == sorted(set(self.epochs))
        assert self.ticket.dispatch_epoch == self.epochs[-1]

    @invariant()
    def nobody_leads_what_nobody_holds(self) -> None:
        if self.ticket.state in {TicketState.SUBMITTED, TicketState.AWAITING_TRIAGE}:
            assert (self.ticket.lead_unit, self.ticket.co_handler_units) == (None, ())
        if self.ticket.state in {TicketState.DISPATCHED, TicketState.ACCEPTED, TicketState.AWAITING_SUPPLEMENT}:
            assert self.ticket.lead_unit is not None

    @invariant()
    def what_is_shown_fits_the_state(self) -> None:
        shown = self.ticket
        if shown.state is not TicketState.AWAITING_SUPPLEMENT:
            assert shown.supplement_question == ""
        assert (shown.resolve_time is not None) == (shown.state in {TicketState.RESOLVED, TicketState.CLOSED})
        if shown.rating is not None:
            assert shown.state in {TicketState.RESOLVED, TicketState.CLOSED}
        if shown.state in FINAL:
            assert shown.due_time is None
        assert shown.reopen_count == self.reopened

    @invariant()
    def a_ticket_is_open_or_resolved_or_ended(self) -> None:
        assert (self.ticket.state in OPEN) + (self.ticket.state is TicketState.RESOLVED) + (self.ticket.state in ENDED) == 1

    @invariant()
    def the_last_change_is_never_before_an_earlier_one(self) -> None:
        assert self.ticket.update_time == max([NOW, *(change.occur_time for change in self.log)])


TestTicketMachine = TicketMachine.TestCase
TestTicketMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
