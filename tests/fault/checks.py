"""The judgement: what the system shows at rest against what was done to it from outside.

load client ──ledger──┐
unit stubs  ──ledger──┤
all topics  ──tap─────┼──► Evidence ──► violations of I1, I2, I3, I4, I8
RPCs, outboxes, inboxes ┘
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from paidan.dispatcher.v1 import dispatch_pb2
from paidan.dispatcher.v1 import dispatcher_service_pb2 as dispatcher
from paidan.dispatcher.v1 import events_pb2 as dispatcher_events
from paidan.intake.v1 import intake_service_pb2 as intake
from paidan.intake.v1 import ticket_pb2
from paidan.sla.v1 import deadline_pb2
from paidan.sla.v1 import events_pb2 as sla_events
from services.dispatcher.adapters import events as dispatcher_adapter
from services.intake.adapters import events as intake_adapter
from services.sla.adapters import events as sla_adapter
from tests.fault.ledger import Plan
from tests.support.city import ASSIGNMENTS, CLASSIFICATIONS, DEADLINES, TICKETS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from google.protobuf.message import Message

    from tests.fault.ledger import Ledger, Receipt, Submission
    from tests.support.city import City
    from tests.support.tap import Seen

_TIMEOUT_SECONDS = 15
_PAGE = 200
_REPORTED = 20


class Invariant(StrEnum):
    """The promises, by the numbers that the design gives them."""

    ACKNOWLEDGED_IS_STORED = "I1"
    ONE_LEAD_EFFECT = "I2"
    ONE_EFFECT_A_MESSAGE = "I3"
    IN_ORDER = "I4"
    ACCOUNTED_FOR = "I8"


I1, I2, I3, I4, I8 = Invariant


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise."""

    invariant: Invariant
    ticket_id: str
    what: str

    def __str__(self) -> str:
        return f"{self.invariant} {self.ticket_id}: {self.what}"


def report(violations: Sequence[Violation]) -> str:
    """Return what a failing test says."""
    return "\n".join([f"{len(violations)} broken promises:", *map(str, violations[:_REPORTED])])


@dataclass(frozen=True, slots=True)
class Act:
    """What happened to an assignment: told by a receipt, by an event, or by a change of the ticket."""

    kind: str
    epoch: int
    unit: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a ticket."""

    version: int
    kind: str
    unit: str
    note: str


@dataclass(frozen=True, kw_only=True)
class Case:
    """All that is known from outside about one stored ticket.

    Attributes:
        ticket: As intake shows it.
        plan: What the units were to do with it; None if nobody submitted it.
        changes: As intake keeps them for those who watch, from the first.
        dispatch: As the dispatcher shows it; None if it does not know the ticket.
        deadlines: Kind → state, as the SLA service keeps them.
        records: What is on the topics, those of a topic in the order of its log.
        receipts: What units sent, in order.
        handled: Service → ids that it remembers as handled.
    """

    ticket: ticket_pb2.Ticket
    plan: Plan | None
    changes: Sequence[Change]
    dispatch: dispatch_pb2.Dispatch | None
    deadlines: Mapping[str, str]
    records: Sequence[Seen]
    receipts: Sequence[Receipt]
    handled: Mapping[str, set[str]]

    def first_copies(self, topic: str) -> list[Seen]:
        """Return the records of a topic, of each message the first copy."""
        first: dict[str, Seen] = {}
        for record in self.records:
            if record.topic == topic:
                first.setdefault(record.message_id, record)
        return list(first.values())

    def told(self) -> list[tuple[Seen, dict[str, Any]]]:
        """Return what units were told, of each message the first copy, those of a unit in order."""
        first: dict[str, tuple[Seen, dict[str, Any]]] = {}
        for record in self.records:
            if record.topic.startswith("dispatch."):
                message = json.loads(record.value)
                first.setdefault(message["messageId"], (record, message))
        return list(first.values())


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One run as it is seen from outside, at rest."""

    submissions: Mapping[str, Submission]
    acknowledged: Mapping[str, set[str]]
    cases: Mapping[str, Case]
    dead_letters: Sequence[Seen]
    unsent: int


# Gathering


def gather(city: City, ledger: Ledger, *, dead_letters_before: int) -> Evidence:
    """Look at everything that is known about a run; nothing may be under way."""
    portal = city.token_of_portal(ledger.portal)
    submissions = ledger.submissions
    plans = {submission.text: submission.plan for submission in submissions.values()}
    receipts: defaultdict[str, list[Receipt]] = defaultdict(list)
    for receipt in ledger.receipts:
        receipts[receipt.ticket_id].append(receipt)
    tickets = list(_stored(city, portal))
    ids = [ticket.ticket_id for ticket in tickets]
    changes, dispatches, deadlines = _changes(city, ids), _dispatches(city, ids), _deadlines(city, ids)
    handled = _handled(city, [record for ticket in tickets for record in city.records(ticket.ticket_id)], ledger.receipts)
    cases = {
        ticket.ticket_id: Case(
            ticket=ticket,
            plan=plans.get(ticket.text),
            changes=changes.get(ticket.ticket_id, []),
            dispatch=dispatches.get(ticket.ticket_id),
            deadlines=deadlines.get(ticket.ticket_id, {}),
            records=city.records(ticket.ticket_id),
            receipts=receipts[ticket.ticket_id],
            handled=handled,
        )
        for ticket in tickets
    }
    return Evidence(
        submissions=submissions,
        acknowledged=ledger.acknowledged,
        cases=cases,
        dead_letters=city.dead_letters()[dead_letters_before:],
        unsent=city.unsent(),
    )


def _stored(city: City, portal: Any) -> Iterator[ticket_pb2.Ticket]:
    token = ""
    while True:
        request = intake.ListTicketsRequest(page_size=_PAGE, page_token=token)
        answer = city.intake.ListTickets(request, metadata=portal, timeout=_TIMEOUT_SECONDS, wait_for_ready=True)
        yield from answer.tickets
        token = answer.next_page_token
        if not token:
            return


def _changes(city: City, ticket_ids: Sequence[str]) -> Mapping[str, list[Change]]:
    """Return the changes of tickets, each ticket's by version, as its watchers are told them."""
    changes: defaultdict[str, list[Change]] = defaultdict(list)
    for row in city.query("SELECT * FROM intake.ticket_change WHERE ticket_id = ANY(:ids) ORDER BY ticket_id, version", ids=ticket_ids):
        changes[row.ticket_id].append(Change(row.version, row.kind, row.unit or "", row.note))
    return changes


def _dispatches(city: City, ticket_ids: Sequence[str]) -> Mapping[str, dispatch_pb2.Dispatch]:
    """Return dispatches as the desk sees them: newest first, until all were found or there are no more."""
    wanted, found, token = set(ticket_ids), {}, ""
    while wanted - set(found):
        request = dispatcher.ListDispatchesRequest(page_size=_PAGE, page_token=token)
        answer = city.dispatcher.ListDispatches(request, metadata=city.operator, timeout=_TIMEOUT_SECONDS, wait_for_ready=True)
        found |= {each.ticket_id: each for each in answer.dispatches if each.ticket_id in wanted}
        token = answer.next_page_token
        if not token:
            break
    return found


def _deadlines(city: City, ticket_ids: Sequence[str]) -> Mapping[str, dict[str, str]]:
    deadlines: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for row in city.query("SELECT ticket_id, kind, state FROM sla.deadline WHERE ticket_id = ANY(:ids)", ids=ticket_ids):
        deadlines[row.ticket_id][row.kind] = row.state
    return deadlines


_TOLD_TO = {
    TICKETS: ("dispatcher", "sla"),
    CLASSIFICATIONS: ("dispatcher",),
    ASSIGNMENTS: ("intake", "sla"),
    DEADLINES: ("intake", "dispatcher"),
}
_READING = {"intake": intake_adapter.READING, "dispatcher": dispatcher_adapter.READING, "sla": sla_adapter.READING}
"""Service → types of messages that it does anything with; the others leave no trace in it."""


def _handled(city: City, records: Sequence[Seen], receipts: Sequence[Receipt]) -> dict[str, set[str]]:
    ids: defaultdict[str, set[str]] = defaultdict(set)
    for record in records:
        for service in _TOLD_TO.get(record.topic, ()):
            ids[service].add(record.message_id)
    ids["dispatcher"] |= {f"{receipt.unit}:{receipt.receipt_id}" for receipt in receipts}
    return {service: city.handled_by(service, wanted) for service, wanted in ids.items()}


# Judging


def judge(evidence: Evidence) -> list[Violation]:
    """Return every broken promise."""
    return [
        *_acknowledged_is_stored(evidence),
        *_one_ticket_a_request(evidence),
        *_left_behind(evidence),
        *(violation for case in evidence.cases.values() for violation in judge_case(case)),
    ]


def judge_case(case: Case) -> Iterator[Violation]:
    """Yield the broken promises about one ticket."""
    yield from _one_lead(case)
    yield from _only_the_lead_acts(case)
    yield from _reached_its_end(case)
    yield from _receipts_to_events(case)
    yield from _events_to_changes(case)
    yield from _each_told_once(case)
    yield from _clocks_judged_once(case)
    yield from _versions_without_gap(case)
    yield from _clocks_in_order(case)
    yield from _units_told_in_order(case)
    yield from _unit_told_first(case)
    yield from _every_message_handled(case)


def _acknowledged_is_stored(evidence: Evidence) -> Iterator[Violation]:
    for request_id, ids in evidence.acknowledged.items():
        if len(ids) > 1:
            yield Violation(I1, ", ".join(sorted(ids)), f"request {request_id} was acknowledged as several tickets")
        for ticket_id in ids:
            case = evidence.cases.get(ticket_id)
            if case is None:
                yield Violation(I1, ticket_id, f"request {request_id} was acknowledged and is not stored")
            elif case.ticket.text != evidence.submissions[request_id].text:
                yield Violation(I1, ticket_id, f"request {request_id} was stored with another text")


def _one_ticket_a_request(evidence: Evidence) -> Iterator[Violation]:
    stored = Counter(case.ticket.text for case in evidence.cases.values())
    for text, count in stored.items():
        if count > 1:
            yield Violation(I3, "–", f"one request made {count} tickets: {text}")
    for ticket_id, case in evidence.cases.items():
        if case.plan is None:
            yield Violation(I3, ticket_id, "nobody submitted this")


def _left_behind(evidence: Evidence) -> Iterator[Violation]:
    for letter in evidence.dead_letters:
        reason = f"{letter.headers.get('dlq_reason')}: {letter.headers.get('dlq_detail')}"
        yield Violation(I8, letter.key, f"dead letter on {letter.topic}, {reason}")
    if evidence.unsent:
        yield Violation(I8, "–", f"{evidence.unsent} messages wait in outboxes")


def _leads(case: Case) -> dict[int, list[str]]:
    """Return epoch → units that were told to lead."""
    leads: defaultdict[int, list[str]] = defaultdict(list)
    for _, message in case.told():
        if message.get("order", {}).get("role") == "UNIT_ROLE_LEAD":
            leads[message["epoch"]].append(message["unit"])
    return dict(leads)


def _one_lead(case: Case) -> Iterator[Violation]:
    ticket_id, leads = case.ticket.ticket_id, _leads(case)
    if not leads:
        yield Violation(I2, ticket_id, "no unit was ever told to lead")
        return
    if sorted(leads) != list(range(1, max(leads) + 1)):
        yield Violation(I2, ticket_id, f"units were told of the epochs {sorted(leads)}")
    for epoch, units in leads.items():
        if len(set(units)) > 1:
            yield Violation(I2, ticket_id, f"epoch {epoch} has the leads {units}")
    announced = {act.epoch: act.unit for act in _announced(case) if act.kind == "dispatched"}
    if announced != {epoch: units[0] for epoch, units in leads.items()}:
        yield Violation(I2, ticket_id, f"{ASSIGNMENTS} tells of the leads {announced}, units were told {leads}")
    last = max(leads)
    shown = {
        "intake": (case.ticket.dispatch_epoch, case.ticket.lead_unit),
        "dispatcher": (case.dispatch.epoch, case.dispatch.lead_unit) if case.dispatch else None,
    }
    for service, lead in shown.items():
        if lead != (last, leads[last][0]):
            yield Violation(I2, ticket_id, f"{service} shows the lead {lead}, the last order was {(last, leads[last][0])}")


def _only_the_lead_acts(case: Case) -> Iterator[Violation]:
    """An act belongs to the assignment in force: its epoch and its unit are those of the dispatch before it."""
    lead: tuple[int, str] | None = None
    for act in _announced(case):
        if act.kind == "dispatched":
            lead = (act.epoch, act.unit)
        elif act.kind in _UNIT_ACTS and (act.epoch, act.unit) != lead:
            yield Violation(I2, case.ticket.ticket_id, f"{act} took effect while {lead} was the lead")


_ENDS = {
    Plan.USUAL: (ticket_pb2.TICKET_STATE_RESOLVED, dispatch_pb2.DISPATCH_STATE_RESOLVED, 1),
    Plan.RETURN: (ticket_pb2.TICKET_STATE_RESOLVED, dispatch_pb2.DISPATCH_STATE_RESOLVED, 2),
    Plan.LATE: (ticket_pb2.TICKET_STATE_DISPATCHED, dispatch_pb2.DISPATCH_STATE_DISPATCHED, 2),
}


def _reached_its_end(case: Case) -> Iterator[Violation]:
    if case.plan is None:
        return
    at_intake, at_dispatcher, epoch = _ENDS[case.plan]
    state = case.ticket.state, case.ticket.dispatch_epoch
    if state != (at_intake, epoch):
        name = ticket_pb2.TicketState.Name(case.ticket.state)
        yield Violation(I2, case.ticket.ticket_id, f"the plan was {case.plan}, intake shows {name} under epoch {state[1]}")
    if case.dispatch is None:
        yield Violation(I2, case.ticket.ticket_id, "the dispatcher never heard of it")
    elif case.dispatch.state != at_dispatcher:
        name = dispatch_pb2.DispatchState.Name(case.dispatch.state)
        yield Violation(I2, case.ticket.ticket_id, f"the plan was {case.plan}, the dispatcher shows {name}")


def _receipts_to_events(case: Case) -> Iterator[Violation]:
    """Each receipt has one effect, and a unit's receipts have theirs in the order of their sending."""
    sent = [Act(_RECEIPT_KINDS[each.action], each.epoch, each.unit, each.note) for each in case.receipts if not each.stale]
    happened = [act for act in _announced(case) if act.kind in _UNIT_ACTS]
    yield from _compare(case, sent, happened, "receipts", f"events on {ASSIGNMENTS}")
    stale = {each.receipt_id for each in case.receipts if each.stale}
    refused = [message["refused"] for _, message in case.told() if "refused" in message]
    for refusal in refused:
        if refusal["receiptId"] not in stale:
            yield Violation(I8, case.ticket.ticket_id, f"a receipt was refused: {refusal['reason']}: {refusal['message']}")
    for receipt_id in stale - {refusal["receiptId"] for refusal in refused}:
        yield Violation(I2, case.ticket.ticket_id, f"the receipt {receipt_id} about an assignment that had ended was not refused")


def _events_to_changes(case: Case) -> Iterator[Violation]:
    """Each event of the dispatcher is one change of the ticket, in the same order; so is each that moves the due time."""
    announced = [Act(act.kind, 0, act.unit, act.note) for act in _announced(case)]
    shown = [Act(each.kind, 0, each.unit, _noted(each)) for each in case.changes if each.kind in {*_UNIT_ACTS, "dispatched"}]
    yield from _compare(case, announced, shown, f"events on {ASSIGNMENTS}", "changes of the ticket")
    kinds = Counter(each.kind for each in case.changes)
    if kinds["submitted"] != 1:
        yield Violation(I3, case.ticket.ticket_id, f"it was submitted {kinds['submitted']} times")
    if kinds["due_time_set"] > 1:
        yield Violation(I3, case.ticket.ticket_id, f"the due time was set {kinds['due_time_set']} times")


def _compare(case: Case, expected: Sequence[Act], actual: Sequence[Act], of: str, to: str) -> Iterator[Violation]:
    more, fewer = Counter(actual) - Counter(expected), Counter(expected) - Counter(actual)
    for act, count in more.items():
        yield Violation(I3, case.ticket.ticket_id, f"{count} too many among the {to}, by the {of}: {act}")
    for act, count in fewer.items():
        yield Violation(I8, case.ticket.ticket_id, f"{count} missing among the {to}, by the {of}: {act}")
    if not more and not fewer and list(expected) != list(actual):
        yield Violation(I4, case.ticket.ticket_id, f"the {to} come in the order {actual}, the {of} in {expected}")


def _each_told_once(case: Case) -> Iterator[Violation]:
    told = Counter(
        (message["unit"], message["epoch"], body, message[body].get("kind", "") if body == "deadline" else "")
        for _, message in case.told()
        for body in ("order", "cancelled", "deadline")
        if body in message
    )
    for what, count in told.items():
        if count > 1:
            yield Violation(I3, case.ticket.ticket_id, f"told {count} times under different ids: {what}")
    submitted = [record for record in case.first_copies(TICKETS) if record.type == "paidan.intake.v1.TicketSubmitted"]
    if len(submitted) != 1:
        yield Violation(I3 if submitted else I8, case.ticket.ticket_id, f"{len(submitted)} different TicketSubmitted on {TICKETS}")
    for topic in (TICKETS, ASSIGNMENTS, DEADLINES):
        copies = defaultdict(set)
        for record in case.records:
            if record.topic == topic:
                copies[record.message_id].add(record.value)
        for message_id, values in copies.items():
            if len(values) > 1:
                yield Violation(I3, case.ticket.ticket_id, f"message {message_id} on {topic} has {len(values)} contents")


def _clocks_judged_once(case: Case) -> Iterator[Violation]:
    announced: Counter[tuple[str, int, int]] = Counter()
    for record in case.first_copies(DEADLINES):
        deadline = _parse(record, sla_events).deadline
        announced[record.type.rpartition(".")[2], deadline.kind, deadline.cycle] += 1
    for what, count in announced.items():
        if count > 1:
            yield Violation(I3, case.ticket.ticket_id, f"announced {count} times on {DEADLINES}: {what}")
    for kind, number in _KINDS.items():
        if case.plan is Plan.LATE and kind == "resolution":
            continue
        # Whether the minute was held is not judged here: services were down meanwhile.
        outcomes = {"met": "DeadlineMet"} if kind == "resolution" else {"met": "DeadlineMet", "breached": "DeadlineBreached"}
        state = case.deadlines.get(kind, "unknown")
        told = [outcome for outcome, event in outcomes.items() if announced[event, number, 0]]
        if told != [state]:
            yield Violation(I8, case.ticket.ticket_id, f"the {kind} deadline is {state}, {DEADLINES} tells {told}")


_KINDS = {"dispatch": deadline_pb2.DEADLINE_KIND_DISPATCH, "resolution": deadline_pb2.DEADLINE_KIND_RESOLUTION}


def _versions_without_gap(case: Case) -> Iterator[Violation]:
    versions = [change.version for change in case.changes]
    if versions != list(range(1, case.ticket.version + 1)):
        yield Violation(I4, case.ticket.ticket_id, f"a watch shows the versions {versions} of {case.ticket.version}")


def _clocks_in_order(case: Case) -> Iterator[Violation]:
    """What is told of a clock begins with its start, and nothing follows its outcome."""
    told: defaultdict[tuple[int, int], list[str]] = defaultdict(list)
    for record in case.first_copies(DEADLINES):
        deadline = _parse(record, sla_events).deadline
        told[deadline.kind, deadline.cycle].append(record.type.rpartition(".")[2])
    for clock, events in told.items():
        if events[0] != "DeadlineSet" or {"DeadlineMet", "DeadlineBreached"} & set(events[:-1]):
            yield Violation(I4, case.ticket.ticket_id, f"{DEADLINES} tells of the clock {clock}: {events}")


def _units_told_in_order(case: Case) -> Iterator[Violation]:
    """A unit's epoch begins with the order, ends with the cancellation, and epochs rise."""
    by_unit: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for _, message in case.told():
        if "refused" not in message:
            by_unit[message["unit"]].append(message)
    for unit, messages in by_unit.items():
        epochs = [message["epoch"] for message in messages]
        if epochs != sorted(epochs):
            yield Violation(I4, case.ticket.ticket_id, f"{unit} was told of the epochs in the order {epochs}")
        for epoch in sorted(set(epochs)):
            bodies = [_body(message) for message in messages if message["epoch"] == epoch]
            if bodies[0] != "order" or "cancelled" in bodies[:-1]:
                yield Violation(I4, case.ticket.ticket_id, f"{unit} was told under epoch {epoch}: {bodies}")


def _unit_told_first(case: Case) -> Iterator[Violation]:
    """The order lies on the unit's topic before anyone is told of the dispatch."""
    pushed = {message["epoch"]: record.time for record, message in case.told() if message.get("order", {}).get("role") == "UNIT_ROLE_LEAD"}
    for record in case.first_copies(ASSIGNMENTS):
        if record.type == "paidan.dispatcher.v1.TicketDispatched":
            epoch = _parse(record, dispatcher_events).epoch
            if epoch in pushed and record.time < pushed[epoch]:
                late = pushed[epoch] - record.time
                yield Violation(I4, case.ticket.ticket_id, f"the unit's order of epoch {epoch} came {late} ms after its announcement")


def _every_message_handled(case: Case) -> Iterator[Violation]:
    for topic, services in _TOLD_TO.items():
        for record in case.first_copies(topic):
            for service in services:
                if record.type in _READING[service].types and record.message_id not in case.handled.get(service, ()):
                    yield Violation(I8, case.ticket.ticket_id, f"{service} never handled {record.type} {record.message_id} of {topic}")
    for receipt in case.receipts:
        if f"{receipt.unit}:{receipt.receipt_id}" not in case.handled.get("dispatcher", ()):
            yield Violation(I8, case.ticket.ticket_id, f"the dispatcher never handled the receipt {receipt}")


# Reading

_RECEIPT_KINDS = {"accept": "accepted", "reportProgress": "progress", "resolve": "resolved", "return": "returned"}
_UNIT_ACTS = frozenset(_RECEIPT_KINDS.values())
_EVENT_KINDS = {
    "TicketDispatched": "dispatched",
    "TicketAccepted": "accepted",
    "TicketReturned": "returned",
    "ProgressReported": "progress",
    "TicketResolved": "resolved",
}


def _announced(case: Case) -> list[Act]:
    """Return what the dispatcher told about the ticket, of each event the first copy, in order."""
    acts = []
    for record in case.first_copies(ASSIGNMENTS):
        kind = _EVENT_KINDS.get(record.type.rpartition(".")[2])
        if kind is not None:
            event: Any = _parse(record, dispatcher_events)
            if kind == "dispatched":
                acts.append(Act(kind, event.epoch, event.lead_unit))
            else:
                note = event.resolution if kind == "resolved" else getattr(event, "note", "")
                acts.append(Act(kind, event.epoch, event.unit, note))
    return acts


def _noted(change: Change) -> str:
    return "" if change.kind == "dispatched" else change.note


def _body(message: Mapping[str, Any]) -> str:
    return next(name for name in ("order", "cancelled", "supplement", "extension", "deadline", "refused") if name in message)


def _parse(record: Seen, module: Any) -> Any:
    message: Message = getattr(module, record.type.rpartition(".")[2])()
    message.ParseFromString(record.value)
    return message
