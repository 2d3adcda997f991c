from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from chassis.instant import to_timestamp
from chassis.message import InvalidMessage
from paidan.dispatcher.v1 import events_pb2 as dispatcher
from paidan.intake.v1 import events_pb2 as intake
from paidan.sla.v1 import deadline_pb2
from paidan.sla.v1 import events_pb2 as sla
from services.sla.adapters.events import READING, TOPIC, decode, encode
from services.sla.adapters.facts_json import from_json, to_json
from services.sla.adapters.kafka import handle_messages
from services.sla.application.extend_clock import ExtendClock
from services.sla.application.record_dispatch import RecordDispatch
from services.sla.application.start_clock import StartClock
from services.sla.domain.deadline import Deadline, DeadlineChanged, TicketId
from services.sla.domain.facts import Assignment, Cycle, Epoch, Extension, Facts, PortalCode, Question, UnitCode
from services.sla.domain.promise import Kind
from services.sla.domain.replay import Change, State
from tests.unit.sla import messages
from tests.unit.sla.builders import rules, shanghai
from tests.unit.sla.fakes import MemoryStore, MemoryUnitOfWork
from tests.unit.sla.messages import received

if TYPE_CHECKING:
    from datetime import datetime

    from google.protobuf.message import Message

MONDAY = shanghai("2026-11-23T09:00")
SECOND = timedelta(seconds=1)

NOT_HEEDED = {
    "paidan.intake.v1.TicketRated",
    "paidan.intake.v1.TicketClosed",
    "paidan.dispatcher.v1.TicketSentToTriage",
    "paidan.dispatcher.v1.TicketAccepted",
    "paidan.dispatcher.v1.ProgressReported",
    "paidan.dispatcher.v1.ExtensionRequested",
}


def test_every_event_of_both_topics_is_heeded_or_left_out_on_purpose() -> None:
    published = {message.full_name for events in (intake, dispatcher) for message in events.DESCRIPTOR.message_types_by_name.values()}

    assert published == READING.types | NOT_HEEDED
    assert READING.types.isdisjoint(NOT_HEEDED)


def test_a_submission_starts_the_clocks_of_a_portals_ticket() -> None:
    command = decode(received(messages.submitted("t-1", MONDAY, portal="portal-x"), MONDAY + SECOND))

    assert command == StartClock(ticket_id=TicketId("t-1"), cycle=Cycle(0), start_time=MONDAY, portal=PortalCode("portal-x"))


def test_a_reopening_starts_the_cycle_of_its_number() -> None:
    assert decode(received(messages.reopened("t-1", MONDAY, 2), MONDAY)) == StartClock(
        ticket_id=TicketId("t-1"), cycle=Cycle(2), start_time=MONDAY
    )


def test_a_dispatch_is_judged_by_the_time_of_its_record() -> None:
    command = decode(received(messages.dispatched("t-1", MONDAY, epoch=3), MONDAY + SECOND))

    assert command == RecordDispatch(
        ticket_id=TicketId("t-1"), epoch=Epoch(3), unit=UnitCode("zfcxjw"), dispatch_time=MONDAY, push_time=MONDAY + SECOND
    )


def test_only_a_granted_extension_extends() -> None:
    granted = decode(received(messages.extension_decided("t-1", MONDAY, workdays=2), MONDAY))
    refused = decode(received(messages.extension_decided("t-1", MONDAY, workdays=0, granted=False), MONDAY))

    assert granted == ExtendClock(ticket_id=TicketId("t-1"), epoch=Epoch(1), workdays=2, decide_time=MONDAY)
    assert refused is None


def test_a_type_that_is_not_known_yet_is_passed_over() -> None:
    message = replace(received(messages.submitted("t-1", MONDAY), MONDAY), type="paidan.intake.v1.TicketPraised")

    assert decode(message) is None


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (messages.submitted("", MONDAY), "INCOMPLETE"),
        (intake.TicketSubmitted(ticket_id="t-1"), "INCOMPLETE"),
        (messages.reopened("t-1", MONDAY, 0), "INCOMPLETE"),
        (messages.dispatched("t-1", MONDAY, epoch=0), "INCOMPLETE"),
        (dispatcher.TicketDispatched(ticket_id="t-1", epoch=1, lead_unit="u"), "INCOMPLETE"),
        (messages.extension_decided("t-1", MONDAY, workdays=0), "INCOMPLETE"),
        (messages.extension_decided("t-1", MONDAY, workdays=251), "INCOMPLETE"),
        (dispatcher.TicketResolved(ticket_id="t-1", epoch=1), "INCOMPLETE"),
        (dispatcher.TicketDeclined(ticket_id="t-1"), "INCOMPLETE"),
        (intake.TicketSupplemented(ticket_id="t-1"), "INCOMPLETE"),
    ],
)
def test_a_message_that_lacks_something_is_never_guessed_at(payload: Message, reason: str) -> None:
    with pytest.raises(InvalidMessage) as invalid:
        decode(received(payload, MONDAY))

    assert invalid.value.reason == reason


def test_a_time_out_of_range_is_invalid() -> None:
    payload = intake.TicketSubmitted(ticket_id="t-1")
    payload.submit_time.seconds = 10**15

    with pytest.raises(InvalidMessage):
        decode(received(payload, MONDAY))


@pytest.mark.parametrize(("changes", "reason"), [({"data": b"\xff\xff"}, "UNDECODABLE"), ({"type": ""}, "NO_TYPE")])
def test_what_cannot_be_read_is_invalid(changes: dict[str, object], reason: str) -> None:
    message = received(messages.submitted("t-1", MONDAY), MONDAY)

    with pytest.raises(InvalidMessage) as invalid:
        decode(replace(message, **changes))  # type: ignore[arg-type]

    assert invalid.value.reason == reason


DEADLINE = Deadline(
    ticket_id=TicketId("t-1"),
    kind=Kind.RESOLUTION,
    cycle=Cycle(1),
    state=State.BREACHED,
    start_time=MONDAY,
    due_time=MONDAY + 3 * SECOND,
    original_due_time=MONDAY + 2 * SECOND,
    at_risk_time=MONDAY + SECOND,
    breach_time=MONDAY + 3 * SECOND,
    finish_time=MONDAY + 9 * SECOND,
    unit=UnitCode("zfcxjw"),
    extension_workdays=2,
)


def test_a_deadline_is_told_in_full() -> None:
    message = encode(DeadlineChanged(change=Change.BREACHED, deadline=DEADLINE, event_time=MONDAY + 4 * SECOND))
    event = sla.DeadlineBreached.FromString(message.data)

    assert (message.topic, message.key, message.subject, message.time) == (TOPIC, "t-1", "t-1", MONDAY + 4 * SECOND)
    assert message.type == "paidan.sla.v1.DeadlineBreached"
    assert event.event_time == to_timestamp(MONDAY + 4 * SECOND)
    assert event.deadline == deadline_pb2.Deadline(
        ticket_id="t-1",
        kind=deadline_pb2.DEADLINE_KIND_RESOLUTION,
        cycle=1,
        state=deadline_pb2.DEADLINE_STATE_BREACHED,
        start_time=to_timestamp(MONDAY),
        due_time=to_timestamp(MONDAY + 3 * SECOND),
        original_due_time=to_timestamp(MONDAY + 2 * SECOND),
        at_risk_time=to_timestamp(MONDAY + SECOND),
        breach_time=to_timestamp(MONDAY + 3 * SECOND),
        finish_time=to_timestamp(MONDAY + 9 * SECOND),
        unit="zfcxjw",
        extension_workdays=2,
    )


@pytest.mark.parametrize("change", Change)
def test_every_change_has_an_event_of_its_own(change: Change) -> None:
    message = encode(DeadlineChanged(change=change, deadline=DEADLINE, event_time=MONDAY))

    assert message.type == f"paidan.sla.v1.Deadline{change.value.title().replace('_', '')}"


@pytest.mark.parametrize("state", State)
def test_every_state_can_be_told(state: State) -> None:
    message = encode(DeadlineChanged(change=Change.SET, deadline=replace(DEADLINE, state=state), event_time=MONDAY))

    told = sla.DeadlineSet.FromString(message.data).deadline.state
    assert deadline_pb2.DeadlineState.Name(told) == f"DEADLINE_STATE_{state.value.upper()}"


def test_an_absent_time_stays_absent() -> None:
    paused = replace(DEADLINE, due_time=None)

    event = sla.DeadlinePaused.FromString(encode(DeadlineChanged(change=Change.PAUSED, deadline=paused, event_time=MONDAY)).data)

    assert not event.deadline.HasField("due_time")


def test_facts_survive_being_written_down() -> None:
    facts = Facts(
        portal=PortalCode("p"),
        starts={Cycle(0): MONDAY, Cycle(1): MONDAY + SECOND},
        assignments={Epoch(1): Assignment(UnitCode("u"), MONDAY, MONDAY + timedelta(microseconds=1))},
        returns={Epoch(1): MONDAY},
        questions={Question(Epoch(1), MONDAY), Question(Epoch(2), MONDAY)},
        answers={MONDAY, MONDAY + SECOND},
        extensions={Extension(Epoch(1), MONDAY, 2), Extension(Epoch(1), MONDAY, 3)},
        resolutions={Epoch(1): MONDAY},
        cancel=MONDAY,
    )

    assert from_json(to_json(facts), "p") == facts
    assert to_json(Facts()) == {}
    assert from_json({}, None) == Facts()


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 0, 4, 1, 3)])
def test_a_batch_may_hold_a_tickets_messages_in_any_order(order: tuple[int, ...]) -> None:
    store = MemoryStore()
    batch = [
        received(payload, at)
        for payload, at in (
            (messages.submitted("t-1", MONDAY), MONDAY),
            (messages.dispatched("t-1", MONDAY), MONDAY + SECOND),
            (messages.supplement_requested("t-1", _after(1)), _after(1)),
            (messages.supplemented("t-1", _after(2)), _after(2)),
            (messages.resolved("t-1", _after(3)), _after(3)),
        )
    ]

    with MemoryUnitOfWork(store, rules) as uow:
        handle_messages(uow, [batch[n] for n in order])  # type: ignore[arg-type]  # the port in memory
        uow.commit()

    assert [each.state for each in store.tickets[TicketId("t-1")].deadlines] == [State.MET, State.MET]


def test_every_kind_of_message_reaches_its_use_case() -> None:
    store = MemoryStore()
    life = [
        (messages.submitted("t-1", MONDAY), MONDAY),
        (messages.dispatched("t-1", MONDAY), MONDAY),
        (messages.extension_decided("t-1", _after(1), workdays=1), _after(1)),
        (messages.returned("t-1", _after(2)), _after(2)),
        (messages.dispatched("t-1", _after(3), epoch=2, unit="jtysw"), _after(3)),
        (messages.resolved("t-1", _after(4), epoch=2), _after(4)),
        (messages.reopened("t-1", _after(5)), _after(5)),
        (messages.declined("t-1", _after(5) + SECOND), _after(5) + SECOND),
        (messages.submitted("t-2", MONDAY), MONDAY),
        (messages.withdrawn("t-2", MONDAY + SECOND), MONDAY + SECOND),
    ]

    with MemoryUnitOfWork(store, rules) as uow:
        handle_messages(uow, [received(payload, at) for payload, at in life])  # type: ignore[arg-type]  # the port in memory
        uow.commit()

    first, second = store.tickets[TicketId("t-1")], store.tickets[TicketId("t-2")]
    assert [each.state for each in first.deadlines] == [State.MET, State.MET, State.CANCELLED, State.CANCELLED]
    assert first.deadlines[1].extension_workdays == 1
    assert first.deadlines[1].unit == "jtysw"
    assert [each.state for each in second.deadlines] == [State.CANCELLED, State.CANCELLED]


def _after(hours: int) -> datetime:
    return MONDAY + hours * timedelta(hours=1)
