"""Protobuf on topics: what intake and the dispatcher tell, and what the SLA service announces."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chassis.instant import to_timestamp
from chassis.message import InvalidMessage, proto_message
from chassis.reading import Reading, instant_of, ticket_id_of
from paidan.dispatcher.v1 import events_pb2 as dispatcher
from paidan.intake.v1 import events_pb2 as intake
from paidan.sla.v1 import deadline_pb2
from paidan.sla.v1 import events_pb2 as sla
from services.sla.application.cancel_clocks import CancelClocks
from services.sla.application.extend_clock import ExtendClock
from services.sla.application.finish_clock import FinishClock
from services.sla.application.pause_clock import PauseClock
from services.sla.application.record_dispatch import RecordDispatch
from services.sla.application.record_return import RecordReturn
from services.sla.application.resume_clock import ResumeClock
from services.sla.application.start_clock import StartClock
from services.sla.domain.deadline import TicketId
from services.sla.domain.facts import SUBMISSION, Cycle, Epoch, PortalCode, UnitCode
from services.sla.domain.replay import Change, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from chassis.message import InMessage, OutMessage
    from services.sla.domain.deadline import Deadline, DeadlineChanged

SOURCE = "/paidan/sla"
TOPIC = "sla.events.v1"
INTAKE_TOPIC = "intake.tickets.v1"
DISPATCHER_TOPIC = "dispatcher.assignments.v1"

Command = StartClock | RecordDispatch | RecordReturn | PauseClock | ResumeClock | ExtendClock | FinishClock | CancelClocks

_MOST_WORKDAYS = 250

_EVENTS: dict[Change, Callable[..., Message]] = {
    Change.SET: sla.DeadlineSet,
    Change.PAUSED: sla.DeadlinePaused,
    Change.RESUMED: sla.DeadlineResumed,
    Change.EXTENDED: sla.DeadlineExtended,
    Change.AT_RISK: sla.DeadlineAtRisk,
    Change.BREACHED: sla.DeadlineBreached,
    Change.MET: sla.DeadlineMet,
    Change.CANCELLED: sla.DeadlineCancelled,
}


_STATES = {state: deadline_pb2.DeadlineState.Value(f"DEADLINE_STATE_{state.name}") for state in State}


def encode(changed: DeadlineChanged) -> OutMessage:
    """Return a change as the message to publish."""
    event = _EVENTS[changed.change](deadline=deadline_message(changed.deadline), event_time=to_timestamp(changed.event_time))
    return proto_message(TOPIC, changed.deadline.ticket_id, event, time=changed.event_time)


def deadline_message(deadline: Deadline) -> deadline_pb2.Deadline:
    """Return a deadline as a message."""
    return deadline_pb2.Deadline(
        ticket_id=deadline.ticket_id,
        kind=deadline_pb2.DeadlineKind.Value(f"DEADLINE_KIND_{deadline.kind.name}"),
        cycle=deadline.cycle,
        state=_STATES.get(deadline.state, deadline_pb2.DEADLINE_STATE_UNSPECIFIED),
        start_time=to_timestamp(deadline.start_time),
        due_time=to_timestamp(deadline.due_time),
        original_due_time=to_timestamp(deadline.original_due_time),
        at_risk_time=to_timestamp(deadline.at_risk_time),
        breach_time=to_timestamp(deadline.breach_time),
        finish_time=to_timestamp(deadline.finish_time),
        unit=deadline.unit,
        extension_workdays=deadline.extension_workdays,
    )


def decode(message: InMessage) -> Command | None:
    """Return the command that a message stands for; None if it tells of nothing that a clock depends on.

    Raises:
        InvalidMessage: The message has no type, or the payload is not what its type says, or lacks something.
    """
    command = READING.decode(message)
    if isinstance(command, RecordDispatch):
        # The unit's message was acknowledged before this event was sent, so that its record's time bounds the time of the push.
        return replace(command, push_time=message.record_time)
    return command


def _epoch(payload: Any) -> Epoch:  # noqa: ANN401 - every message of the dispatcher about an assignment has the field
    if payload.epoch < 1:
        raise InvalidMessage("INCOMPLETE", f"epoch is {payload.epoch}, must be 1 or more")
    return Epoch(payload.epoch)


def _submitted(payload: intake.TicketSubmitted) -> Command:
    start = instant_of(payload, "submit_time")
    return StartClock(ticket_id=TicketId(ticket_id_of(payload)), cycle=SUBMISSION, start_time=start, portal=PortalCode(payload.portal))


def _reopened(payload: intake.TicketReopened) -> Command:
    if payload.reopen_count < 1:
        raise InvalidMessage("INCOMPLETE", f"reopen_count is {payload.reopen_count}, must be 1 or more")
    return StartClock(
        ticket_id=TicketId(ticket_id_of(payload)), cycle=Cycle(payload.reopen_count), start_time=instant_of(payload, "reopen_time")
    )


def _supplemented(payload: intake.TicketSupplemented) -> Command:
    return ResumeClock(ticket_id=TicketId(ticket_id_of(payload)), supplement_time=instant_of(payload, "supplement_time"))


def _withdrawn(payload: intake.TicketWithdrawn) -> Command:
    return CancelClocks(ticket_id=TicketId(ticket_id_of(payload)), cancel_time=instant_of(payload, "withdraw_time"))


def _dispatched(payload: dispatcher.TicketDispatched) -> Command:
    dispatch_time = instant_of(payload, "dispatch_time")
    return RecordDispatch(
        ticket_id=TicketId(ticket_id_of(payload)),
        epoch=_epoch(payload),
        unit=UnitCode(payload.lead_unit),
        dispatch_time=dispatch_time,
        push_time=dispatch_time,  # `decode` knows the record, and its time
    )


def _returned(payload: dispatcher.TicketReturned) -> Command:
    return RecordReturn(ticket_id=TicketId(ticket_id_of(payload)), epoch=_epoch(payload), return_time=instant_of(payload, "return_time"))


def _supplement_requested(payload: dispatcher.SupplementRequested) -> Command:
    return PauseClock(ticket_id=TicketId(ticket_id_of(payload)), epoch=_epoch(payload), request_time=instant_of(payload, "request_time"))


def _extension_decided(payload: dispatcher.ExtensionDecided) -> Command | None:
    if not payload.granted:
        return None
    if not 1 <= payload.workdays <= _MOST_WORKDAYS:
        raise InvalidMessage("INCOMPLETE", f"workdays is {payload.workdays}, must be 1–{_MOST_WORKDAYS}")
    return ExtendClock(
        ticket_id=TicketId(ticket_id_of(payload)),
        epoch=_epoch(payload),
        workdays=payload.workdays,
        decide_time=instant_of(payload, "decide_time"),
    )


def _resolved(payload: dispatcher.TicketResolved) -> Command:
    return FinishClock(ticket_id=TicketId(ticket_id_of(payload)), epoch=_epoch(payload), resolve_time=instant_of(payload, "resolve_time"))


def _declined(payload: dispatcher.TicketDeclined) -> Command:
    return CancelClocks(ticket_id=TicketId(ticket_id_of(payload)), cancel_time=instant_of(payload, "decline_time"))


READING: Reading[Command] = Reading(
    (intake.TicketSubmitted, _submitted),
    (intake.TicketReopened, _reopened),
    (intake.TicketSupplemented, _supplemented),
    (intake.TicketWithdrawn, _withdrawn),
    (dispatcher.TicketDispatched, _dispatched),
    (dispatcher.TicketReturned, _returned),
    (dispatcher.SupplementRequested, _supplement_requested),
    (dispatcher.ExtensionDecided, _extension_decided),
    (dispatcher.TicketResolved, _resolved),
    (dispatcher.TicketDeclined, _declined),
)
"""What other services tell that clocks depend on."""
