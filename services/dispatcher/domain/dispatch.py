"""The dispatch of one ticket: at most one lead unit at any time, epochs that only rise, decisions of the arbiter that stand.

    UNSUBMITTED ─► PENDING ─┬─► DISPATCHED ─► ACCEPTED ─► RESOLVED ─► (reopened) DISPATCHED
                            │       ▲  │ ▲                    ▲
                            ▼       │  ▼ └─ AWAITING_SUPPLEMENT
                      AWAITING_TRIAGE (returned without a valid suggestion)
    from anywhere: WITHDRAWN; from triage: DECLINED

A ticket that nobody decided in time is DISPATCHED to the duty desk and keeps its triage item until a person decides.
Every method checks everything before it changes anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from services.dispatcher.domain import events
from services.dispatcher.domain.commands import UnknownCommand
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
from services.dispatcher.domain.values import (
    DUTY_DESK,
    IN_HAND,
    Assignment,
    CancelReason,
    DeadlineChange,
    Extension,
    KeepEvidence,
    Method,
    ReturnReason,
    State,
    Triage,
    TriageReason,
)

if TYPE_CHECKING:
    from datetime import datetime

    from services.dispatcher.domain.commands import EarlyCommand, EarlyNews
    from services.dispatcher.domain.events import Event
    from services.dispatcher.domain.values import (
        Classification,
        DecisionId,
        DecisionRecord,
        Policy,
        Supplement,
        Ticket,
        TicketId,
        UnitCode,
    )

_KEPT_SUPPLEMENTS = 20
_MOVES = frozenset({DeadlineChange.SET, DeadlineChange.PAUSED, DeadlineChange.RESUMED, DeadlineChange.EXTENDED})
_WARNS = frozenset({DeadlineChange.AT_RISK, DeadlineChange.BREACHED})


@dataclass(slots=True, kw_only=True)
class Dispatch:
    """The dispatch of one ticket.

    Attributes:
        ticket_id: Id of the ticket.
        ticket: What intake said of it; None before its submission is heard of.
        state: Where it stands.
        epoch: Number of the latest assignment; 0 before the first.
        cycle: Number of reopenings so far; clocks of the SLA service carry the same number.
        assignment: The assignment in force, also of a resolved or withdrawn ticket; None while nobody leads.
        accepted: True if the lead of the assignment signed for it.
        leads: Lead unit of every epoch so far.
        bounce_count: How often it was returned.
        final: True if an arbiter decided: it cannot be returned any more.
        triage: What the desk has to decide; also while the duty desk holds it.
        next_action_time: When the guard of the minute has to act; None if it need not.
        classification: The classifier's latest answer.
        due_time: Due time of the resolution in this cycle, from the latest SLA event; None while paused or unknown.
        pending_extension: The extension that nobody decided yet.
        supplement_question: What the enterprise was asked; empty unless it has to answer.
        supplements: What the enterprise added so far, the latest 20.
        resolution: What was done; empty unless resolved.
        early: Commands that arrived before the submission or the reopening that they depend on, in order of arrival.
        decision_id: The decision in force; None before the first.
        decision: Its record, if it was made since the dispatch was loaded.
    """

    ticket_id: TicketId
    ticket: Ticket | None = None
    state: State = State.UNSUBMITTED
    epoch: int = 0
    cycle: int = 0
    assignment: Assignment | None = None
    accepted: bool = False
    leads: tuple[UnitCode, ...] = ()
    bounce_count: int = 0
    final: bool = False
    triage: Triage | None = None
    next_action_time: datetime | None = None
    classification: Classification | None = None
    due_time: datetime | None = None
    pending_extension: Extension | None = None
    supplement_question: str = ""
    supplements: tuple[Supplement, ...] = ()
    resolution: str = ""
    early: tuple[EarlyCommand, ...] = ()
    decision_id: DecisionId | None = None
    decision: DecisionRecord | None = field(default=None, compare=False)
    _events: list[Event] = field(default_factory=list, compare=False)

    def pull_events(self) -> list[Event]:
        """Return what happened since the last call, in order."""
        pulled, self._events = self._events, []
        return pulled

    # What intake and the classifier say

    def hear_early(self, command: EarlyCommand) -> None:
        """Keep a command until the ticket is submitted or reopened."""
        self.early = (*self.early, command)

    def submit(self, ticket: Ticket, *, now: datetime, policy: Policy) -> tuple[EarlyNews, ...]:
        """Take a ticket in; returns the commands that came before it and are to be carried out now. A repetition changes nothing."""
        if self.state is not State.UNSUBMITTED:
            return ()
        self.ticket = ticket
        self.state = State.PENDING
        self.next_action_time = max(ticket.submit_time + policy.rules_after, now + policy.grace(late=now - ticket.submit_time))
        return self._pull_early()

    def classify(self, classification: Classification) -> None:
        """Note the classifier's answer; it decides only where `awaits_classification`."""
        self.classification = classification

    @property
    def awaits_classification(self) -> bool:
        """True while a classification can still decide: nothing else has."""
        unanswered = self.triage is not None and self.triage.reason is TriageReason.NO_CLASSIFICATION
        return self.epoch == 0 and (self.state is State.PENDING or (self.state is State.AWAITING_TRIAGE and unanswered))

    def withdraw(self, reason: str, *, now: datetime) -> None:
        """The enterprise took its request back; intake decides that, so that it holds in any state."""
        if self.state is State.WITHDRAWN:
            return
        if self.assignment is not None and self.state is not State.DECLINED:
            self._release(self.assignment, CancelReason.WITHDRAWN, reason, now)
        self._close(State.WITHDRAWN)

    def deliver(self, supplement: Supplement, *, now: datetime) -> None:
        """The enterprise added material. Whoever leads now gets it at once, whoever leads later with the order."""
        self.supplements = (*self.supplements, supplement)[-_KEPT_SUPPLEMENTS:]
        if self.state is State.AWAITING_SUPPLEMENT:
            self.state = State.ACCEPTED
            self.supplement_question = ""
        if self.assignment is not None and self.state in {*IN_HAND, State.RESOLVED}:
            self._events.append(
                events.SupplementArrived(
                    ticket=self._known,
                    assignment=self.assignment,
                    supplement=supplement,
                    time=now,
                ),
            )

    def awaits_reopening(self, cycle: int) -> bool:
        """Return whether a clock belongs to a reopening that has not arrived yet."""
        return cycle > self.cycle and self.state is State.RESOLVED

    def note_deadline(self, change: DeadlineChange, due_time: datetime | None, *, now: datetime, cycle: int = 0) -> None:
        """Apply a change of the due time and send it to the lead unit.

        A deadline of an earlier cycle changes nothing. Neither does a warning about a due time that is no longer in force.
        """
        if cycle < self.cycle:
            return
        # A replica of the previous release does not count reopenings.
        self.cycle = cycle
        warned = change in _WARNS and due_time == self.due_time
        if change in _MOVES or change is DeadlineChange.CANCELLED:
            self.due_time = due_time
        if self.assignment is not None and self.state in IN_HAND and (warned or change in _MOVES):
            self._events.append(
                events.DeadlineMoved(
                    ticket=self._known,
                    epoch=self.epoch,
                    unit=self.assignment.lead,
                    change=change,
                    due_time=due_time,
                    time=now,
                ),
            )

    # Decisions

    def decide(self, decision: DecisionRecord, *, policy: Policy) -> None:
        """Carry out a decision of the classifier or of the rules: to a unit, or to the desk.

        Raises:
            StateConflict: It is decided already.
        """
        if self.state not in {State.PENDING, State.AWAITING_TRIAGE} or self.epoch:
            raise StateConflict(self.state)
        if decision.choice.lead is not None:
            self._assign(decision)
        elif self.triage is None:
            self._send_to_triage(decision, policy, waits_from=self._known.submit_time)
        else:
            self._improve_guesses(decision)

    def improve_guesses(self, decision: DecisionRecord) -> None:
        """Give the desk better guesses for a ticket that waits for it; no effect otherwise."""
        if self.triage is not None:
            self._improve_guesses(decision)

    def fall_back(self, decision: DecisionRecord) -> None:
        """Let the duty desk lead what nobody decided in time; it still waits for a person's decision.

        Raises:
            StateConflict: It does not wait for the desk.
        """
        if self.state is not State.AWAITING_TRIAGE or self.triage is None:
            raise StateConflict(self.state)
        waiting = self.triage
        self._assign(decision)
        self.triage = replace(waiting, fallback_time=decision.decide_time)

    def assign_by_desk(self, decision: DecisionRecord, *, note: str) -> None:
        """Carry out a decision of the desk. The arbiter's is final.

        Raises:
            StateConflict: The ticket does not wait for the desk, or someone decided already.
        """
        self.check_triage()
        self.final = self.final or self.is_for_arbiter
        if self.assignment is not None:
            self._release(self.assignment, CancelReason.TRANSFERRED, note, decision.decide_time)
        self._assign(decision, note=note)

    def decline(self, decision: DecisionRecord, *, reason: str, right_channel: str) -> None:
        """Decline a ticket that waits for the desk.

        Raises:
            StateConflict: It does not wait for the desk.
        """
        self.check_triage()
        if self.assignment is not None:
            self._release(self.assignment, CancelReason.DECLINED, reason, decision.decide_time)
        self._close(State.DECLINED)
        self._rest_on(decision)
        self._events.append(
            events.TicketDeclined(
                ticket=self._known,
                decision=decision,
                reason=reason,
                right_channel=right_channel,
                time=decision.decide_time,
            ),
        )

    def transfer(self, decision: DecisionRecord, *, note: str) -> None:
        """Move the ticket to another unit; `check_transfer` comes first."""
        assignment = self._in_hand()
        self.final = self.final or self.is_for_arbiter
        self._release(assignment, CancelReason.TRANSFERRED, note, decision.decide_time)
        self._assign(decision, note=note)

    def check_transfer(self, epoch: int, to: UnitCode) -> Assignment:
        """Tell whether the desk may move the ticket; returns the assignment that would end.

        Raises:
            StateConflict: No unit works on it.
            StaleEpoch: The desk saw an assignment that ended since.
            InvalidFields: The unit leads already.
        """
        assignment = self._in_hand()
        if epoch != self.epoch:
            raise StaleEpoch(self.epoch)
        if to == assignment.lead:
            raise InvalidFields([("unit", "leads already")])
        return assignment

    def reopen(self, decision: DecisionRecord, *, note: str, policy: Policy, cycle: int = 0) -> tuple[EarlyNews, ...]:
        """Send a resolved ticket back to work: to the unit that resolved it, or to the desk if that unit is gone.

        A new cycle starts. It has no due time until the SLA service sets one.

        Args:
            decision: Who leads, or why the desk decides.
            note: Words of the enterprise.
            policy: Holds the desk's time.
            cycle: Number of the reopening; 0 for the next one.

        Returns:
            Commands that arrived before the reopening and are due for execution now.

        Raises:
            StateConflict: It is not resolved.
        """
        if self.state is not State.RESOLVED:
            raise StateConflict(self.state)
        self.resolution = ""
        self.cycle = max(self.cycle + 1, cycle)
        self.due_time = None
        if decision.choice.lead is not None:
            self._assign(decision, note=note)
        else:
            self._send_to_triage(decision, policy, waits_from=decision.decide_time)
        return self._pull_early()

    @property
    def is_for_arbiter(self) -> bool:
        """True while the arbiter has to decide; whatever ends that is its decision, also that it solved the matter itself."""
        return self.triage is not None and self.triage.reason is TriageReason.BOUNCED

    def check_triage(self) -> Triage:
        """Return what the desk has to decide.

        Raises:
            StateConflict: Nothing: it does not wait for the desk.
        """
        if self.triage is None:
            raise StateConflict(self.state)
        return self.triage

    def concerns(self, unit: UnitCode) -> bool:
        """Tell whether a unit leads, led or helps with the ticket."""
        return unit in self.leads or (self.assignment is not None and unit in self.assignment.co_handlers)

    # What the lead unit does

    def accept(self, unit: UnitCode, epoch: int, *, now: datetime) -> None:
        """Sign for the ticket; signing twice changes nothing.

        Raises:
            DispatcherError: Not the lead, not this epoch, or closed.
        """
        self._led_by(unit, epoch)
        if self.state not in {*IN_HAND, State.RESOLVED}:
            raise StateConflict(self.state)
        self._accept(unit, now)

    def check_return(self, unit: UnitCode, epoch: int) -> Assignment:
        """Tell whether a unit may send the ticket back; returns the assignment that would end.

        Raises:
            DispatcherError: Not the lead, not this epoch, closed, or an arbiter decided.
        """
        assignment = self._led_by(unit, epoch)
        self._in_hand()
        if self.final:
            raise DecisionIsFinal
        return assignment

    def after_return(self, returning: UnitCode, suggested: UnitCode | None, policy: Policy) -> TriageReason | None:
        """Tell what a return would lead to: None if the suggestion is to be followed, else why the desk would decide.

        Args:
            returning: The unit that returns.
            suggested: The unit in force that it names, if any.
            policy: Holds the bounce budget.
        """
        if returning == DUTY_DESK and suggested not in {None, DUTY_DESK}:
            return None
        if self.bounce_count + 1 >= policy.bounce_budget:
            return TriageReason.BOUNCED
        if suggested is None or suggested in {returning, DUTY_DESK}:
            return TriageReason.RETURNED
        if suggested in self.leads:
            return TriageReason.BOUNCED
        return None

    def give_back(
        self,
        decision: DecisionRecord,
        *,
        reason: ReturnReason,
        suggested: str,
        note: str,
        policy: Policy,
    ) -> None:
        """Take the ticket from its lead and carry out what `after_return` led to; `check_return` comes first.

        The duty desk's own suggestions are decisions: they cost no bounce, and about a bounced ticket they are final.
        """
        assignment = self._in_hand()
        self._learn_from_return(reason)
        if assignment.lead != DUTY_DESK:
            self.bounce_count += 1
        else:
            self.final = self.final or self.is_for_arbiter
        self._release(assignment, CancelReason.RETURNED, note, decision.decide_time)
        self._events.append(
            events.LeadReturned(
                ticket=self._known,
                epoch=assignment.epoch,
                unit=assignment.lead,
                reason=reason,
                suggested_unit=suggested,
                note=note,
                bounce_count=self.bounce_count,
                time=decision.decide_time,
            ),
        )
        if decision.choice.lead is not None:
            self._assign(decision, note=note)
        else:
            self._send_to_triage(decision, policy, waits_from=decision.decide_time, return_note=note)

    def ask_enterprise(self, unit: UnitCode, epoch: int, question: str, *, now: datetime) -> None:
        """Ask the enterprise for material, which signs for the ticket too; the same question again changes nothing.

        Raises:
            DispatcherError: Not the lead, not this epoch, closed, or another question waits for its answer.
        """
        self._led_by(unit, epoch)
        if self.state is State.AWAITING_SUPPLEMENT and question == self.supplement_question:
            return
        if self.state not in {State.DISPATCHED, State.ACCEPTED}:
            raise StateConflict(self.state)
        self._accept(unit, now)
        self.state = State.AWAITING_SUPPLEMENT
        self.supplement_question = question
        self._events.append(events.SupplementAsked(ticket=self._known, epoch=epoch, unit=unit, question=question, time=now))

    def ask_extension(self, unit: UnitCode, epoch: int, extension: Extension) -> None:
        """Ask the desk for more time; a later wish replaces an undecided one.

        Raises:
            DispatcherError: Not the lead, not this epoch, or closed.
        """
        self._led_by(unit, epoch)
        self._in_hand()
        self.pending_extension = extension
        self._events.append(
            events.ExtensionAsked(ticket=self._known, epoch=epoch, unit=unit, extension=extension, time=extension.request_time),
        )

    def settle_extension(self, *, granted: bool, workdays: int, note: str, now: datetime) -> None:
        """Decide about more time.

        Args:
            granted: True to grant.
            workdays: Whole workdays to grant; 0 means as many as were asked for.
            note: Words for the unit.
            now: When.

        Raises:
            StateConflict: No unit works on it.
            NoPendingExtension: None was asked for.
            PastDue: It would be granted after the due time.
        """
        assignment = self._in_hand()
        if self.pending_extension is None:
            raise NoPendingExtension
        if granted and self.due_time is not None and now >= self.due_time:
            raise PastDue(self.due_time)
        days = (workdays or self.pending_extension.workdays) if granted else 0
        self.pending_extension = None
        self._events.append(
            events.ExtensionSettled(
                ticket=self._known,
                epoch=self.epoch,
                unit=assignment.lead,
                granted=granted,
                workdays=days,
                note=note,
                time=now,
            ),
        )

    def report(self, unit: UnitCode, epoch: int, note: str, *, now: datetime) -> None:
        """Tell the enterprise how far it is.

        Raises:
            DispatcherError: Not the lead, not this epoch, or closed.
        """
        self._led_by(unit, epoch)
        self._in_hand()
        self._events.append(events.ProgressMade(ticket=self._known, epoch=epoch, unit=unit, note=note, time=now))

    def resolve(self, unit: UnitCode, epoch: int, resolution: str, attachment_refs: tuple[str, ...], *, now: datetime) -> None:
        """Say that it is solved; a ticket that was not signed for counts as signed for too. The same again changes nothing.

        Raises:
            DispatcherError: Not the lead, not this epoch, or closed.
        """
        self._led_by(unit, epoch)
        if self.state is State.RESOLVED and resolution == self.resolution:
            return
        self._in_hand()
        self._accept(unit, now)
        self.final = self.final or self.is_for_arbiter
        self._close(State.RESOLVED)
        self.resolution = resolution
        self._events.append(
            events.LeadResolved(
                ticket=self._known,
                epoch=epoch,
                unit=unit,
                resolution=resolution,
                attachment_refs=attachment_refs,
                time=now,
            ),
        )

    # Parts

    @property
    def _known(self) -> Ticket:
        if self.ticket is None:
            raise DispatchNotFound(self.ticket_id)
        return self.ticket

    def _in_hand(self) -> Assignment:
        if self.state not in IN_HAND or self.assignment is None:
            raise StateConflict(self.state)
        return self.assignment

    def _led_by(self, unit: UnitCode, epoch: int) -> Assignment:
        """Return the assignment if `unit` leads it in `epoch`; else say as much as that unit may know."""
        assignment = self.assignment
        if assignment is not None and unit == assignment.lead:
            if epoch != self.epoch:
                raise StaleEpoch(self.epoch)
            return assignment
        if assignment is not None and unit in assignment.co_handlers:
            raise NotLeadUnit(assignment.lead)
        if not 1 <= epoch <= self.epoch or self.leads[epoch - 1] != unit:
            raise DispatchNotFound(self.ticket_id)
        if epoch < self.epoch:
            raise StaleEpoch(self.epoch)
        raise StateConflict(self.state)

    def _assign(self, decision: DecisionRecord, note: str = "") -> None:
        choice = decision.choice
        if choice.lead is None or decision.method is None:
            message = "a decision without a lead cannot be assigned"
            raise ValueError(message)
        # Units that had the ticket when it was resolved have its supplements; a successor or a new helper has not.
        returns_home = (
            decision.method is Method.REOPEN
            and self.assignment is not None
            and {choice.lead, *choice.co_handlers} <= set(self.assignment.participants)
        )
        self.epoch += 1
        self.leads = (*self.leads, choice.lead)
        self.assignment = Assignment(
            epoch=self.epoch,
            lead=choice.lead,
            co_handlers=choice.co_handlers,
            class_code=choice.class_code,
            class_probability=choice.class_probability,
            district=choice.district,
            method=decision.method,
            dispatch_time=decision.decide_time,
            decision_id=decision.decision_id,
            explanation=choice.explanation,
            note=note,
        )
        self._close(State.DISPATCHED)
        self.accepted = False
        self._rest_on(decision)
        self._events.append(
            events.LeadAssigned(
                ticket=self._known,
                assignment=self.assignment,
                decision=decision,
                final=self.final,
                supplements=() if returns_home else self.supplements,
                due_time=self.due_time,
                time=decision.decide_time,
            ),
        )

    def _send_to_triage(self, decision: DecisionRecord, policy: Policy, *, waits_from: datetime, return_note: str = "") -> None:
        choice = decision.choice
        if choice.triage_reason is None:
            message = "a decision without a reason cannot go to the desk"
            raise ValueError(message)
        self._close(State.AWAITING_TRIAGE)
        self.assignment = None
        self.accepted = False
        self._rest_on(decision)
        self.triage = Triage(
            reason=choice.triage_reason,
            candidates=choice.candidates,
            district=choice.district,
            since=decision.decide_time,
            fallback_time=max(waits_from + policy.fallback_after, decision.decide_time),
            return_note=return_note,
        )
        self.next_action_time = self.triage.fallback_time
        self._events.append(
            events.SentToTriage(ticket=self._known, triage=self.triage, decision=decision, time=decision.decide_time),
        )

    def _improve_guesses(self, decision: DecisionRecord) -> None:
        choice = decision.choice
        self.triage = replace(
            self.check_triage(),
            candidates=choice.candidates or self.check_triage().candidates,
            district=choice.district,
            reason=self._better_reason(choice.triage_reason),
        )
        self._events.append(events.GuessesImproved(ticket=self._known, decision=decision, time=decision.decide_time))

    def _better_reason(self, reason: TriageReason | None) -> TriageReason:
        """A reason to be unsure says more than a missing answer did; what a unit's return led to stays."""
        present = self.check_triage().reason
        return reason if reason is not None and present is TriageReason.NO_CLASSIFICATION else present

    def _release(self, assignment: Assignment, reason: CancelReason, note: str, now: datetime) -> None:
        self._events.append(
            events.LeadReleased(ticket=self._known, assignment=assignment, reason=reason, note=note, time=now),
        )

    def _close(self, state: State) -> None:
        """Enter a state in which nothing of the state before waits any more."""
        self.state = state
        self.triage = None
        self.next_action_time = None
        self.pending_extension = None
        self.supplement_question = ""

    def _pull_early(self) -> tuple[EarlyNews, ...]:
        """Return the early commands and remove them; those of a newer release stay."""
        pulled = tuple(command for command in self.early if not isinstance(command, UnknownCommand))
        self.early = tuple(command for command in self.early if isinstance(command, UnknownCommand))
        return pulled

    def _rest_on(self, decision: DecisionRecord) -> None:
        self.decision = decision
        self.decision_id = decision.decision_id

    def _accept(self, unit: UnitCode, now: datetime) -> None:
        if self.accepted:
            return
        self.accepted = True
        self.state = State.ACCEPTED
        self._events.append(events.LeadAccepted(ticket=self._known, epoch=self.epoch, unit=unit, time=now))
        self._learn(kept=1)

    def _learn_from_return(self, reason: ReturnReason) -> None:
        """A matter that is not the unit's counts against it; one of another district only takes back that the unit had kept it."""
        if reason is ReturnReason.NOT_OUR_COMPETENCE:
            self._learn(kept=-1 if self.accepted else 0, returned=1)
        elif reason is ReturnReason.WRONG_DISTRICT and self.accepted:
            self._learn(kept=-1)

    def _learn(self, *, kept: int = 0, returned: int = 0) -> None:
        """Learn only from a unit that could have done otherwise, about a class that is known."""
        assignment = self._in_hand()
        if self.final or assignment.lead == DUTY_DESK or assignment.class_code is None:
            return
        self._events.append(
            events.KeepingLearned(
                evidence=KeepEvidence(unit=assignment.lead, class_code=assignment.class_code, kept=kept, returned=returned),
            ),
        )
