"""Protobuf on topics: intake's events out, the dispatcher's and the SLA service's in."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chassis.instant import to_timestamp
from chassis.message import proto_message
from chassis.reading import Reading, instant_of, ticket_id_of
from paidan.dispatcher.v1 import events_pb2 as dispatcher
from paidan.intake.v1 import events_pb2 as intake
from paidan.intake.v1 import ticket_pb2
from paidan.sla.v1 import deadline_pb2
from paidan.sla.v1 import events_pb2 as sla
from services.intake.application.follow_dispatch import (
    Accepted,
    Declined,
    Dispatched,
    DueTimeChanged,
    Resolved,
    SentToTriage,
    SupplementRequested,
    Told,
)
from services.intake.domain.events import TicketClosed, TicketRated, TicketReopened, TicketSubmitted, TicketSupplemented, TicketWithdrawn
from services.intake.domain.ticket import DispatchFacts, UnitAct
from services.intake.domain.types import TicketId, UnitCode

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from chassis.message import OutMessage
    from services.intake.application.follow_dispatch import Fact
    from services.intake.domain.events import Event
    from services.intake.domain.ticket import Rating

SOURCE = "/paidan/intake"
TOPIC = "intake.tickets.v1"
DISPATCHER_TOPIC = "dispatcher.assignments.v1"
SLA_TOPIC = "sla.events.v1"


def encode(event: Event) -> OutMessage:
    """Return an event as the message to publish."""
    match event:
        case TicketSubmitted(ticket, traceparent):
            message = intake.TicketSubmitted(
                ticket_id=ticket.ticket_id,
                number=ticket.number,
                portal=ticket.portal,
                enterprise=ticket_pb2.Enterprise(uscc=ticket.enterprise.uscc, name=ticket.enterprise.name),
                enterprise_district_code=ticket.enterprise.district,
                district_code=ticket.district,
                text=ticket.text,
                channel=ticket_pb2.Channel.Value(f"CHANNEL_{ticket.channel.value}"),
                confidential=ticket.confidential,
                submit_time=to_timestamp(ticket.create_time),
            )
            submitted = proto_message(TOPIC, ticket.ticket_id, message, time=ticket.create_time)
            return submitted if traceparent is None else replace(submitted, traceparent=traceparent)
        case TicketSupplemented(ticket_id=key, time=time):
            supplemented = intake.TicketSupplemented(
                ticket_id=key,
                text=event.text,
                attachment_refs=event.attachment_refs,
                supplement_time=to_timestamp(time),
            )
            return proto_message(TOPIC, key, supplemented, time=time)
        case TicketWithdrawn(ticket_id=key, time=time):
            return proto_message(
                TOPIC, key, intake.TicketWithdrawn(ticket_id=key, reason=event.reason, withdraw_time=to_timestamp(time)), time=time
            )
        case TicketRated(ticket_id=key, rating=rating):
            rated = intake.TicketRated(ticket_id=key, rating=rating_message(rating))
            return proto_message(TOPIC, key, rated, time=rating.rate_time)
        case TicketReopened(ticket_id=key, time=time):
            reopened = intake.TicketReopened(
                ticket_id=key, reason=event.reason, reopen_count=event.reopen_count, reopen_time=to_timestamp(time)
            )
            return proto_message(TOPIC, key, reopened, time=time)
        case TicketClosed(ticket_id=key, time=time):
            return proto_message(TOPIC, key, intake.TicketClosed(ticket_id=key, close_time=to_timestamp(time)), time=time)


def rating_message(rating: Rating) -> ticket_pb2.Rating:
    """Return a rating as a message."""
    return ticket_pb2.Rating(
        solved=ticket_pb2.Solved.Value(f"SOLVED_{rating.solved.value}"),
        score=rating.score,
        comment=rating.comment,
        rate_time=to_timestamp(rating.rate_time),
    )


def _act(payload: Any, time: datetime, note: str = "") -> UnitAct:  # noqa: ANN401 - several messages with the same fields
    return UnitAct(epoch=payload.epoch, unit=UnitCode(payload.unit), note=note, time=time)


def _dispatched(payload: dispatcher.TicketDispatched) -> Fact:
    facts = DispatchFacts(
        epoch=payload.epoch,
        lead_unit=UnitCode(payload.lead_unit),
        co_handler_units=tuple(UnitCode(unit) for unit in payload.co_handler_units),
        class_code=payload.class_code or None,
        explanation=payload.explanation_zh,
        time=instant_of(payload, "dispatch_time"),
    )
    return Dispatched(TicketId(ticket_id_of(payload)), facts)


def _triage(payload: dispatcher.TicketSentToTriage) -> Fact:
    epoch = payload.epoch if payload.HasField("epoch") else None
    return SentToTriage(TicketId(ticket_id_of(payload)), instant_of(payload, "triage_time"), epoch)


def _accepted(payload: dispatcher.TicketAccepted) -> Fact:
    return Accepted(TicketId(ticket_id_of(payload)), _act(payload, instant_of(payload, "accept_time")))


def _returned(payload: dispatcher.TicketReturned) -> Fact:
    return Told(TicketId(ticket_id_of(payload)), "returned", _act(payload, instant_of(payload, "return_time"), payload.note))


def _supplement(payload: dispatcher.SupplementRequested) -> Fact:
    return SupplementRequested(TicketId(ticket_id_of(payload)), _act(payload, instant_of(payload, "request_time"), payload.question))


def _progress(payload: dispatcher.ProgressReported) -> Fact:
    return Told(TicketId(ticket_id_of(payload)), "progress", _act(payload, instant_of(payload, "report_time"), payload.note))


def _extension_requested(payload: dispatcher.ExtensionRequested) -> Fact:
    act = _act(payload, instant_of(payload.extension, "request_time"), payload.extension.reason)
    return Told(TicketId(ticket_id_of(payload)), "extension_requested", act)


def _extension_decided(payload: dispatcher.ExtensionDecided) -> Fact:
    kind = "extension_granted" if payload.granted else "extension_refused"
    return Told(TicketId(ticket_id_of(payload)), kind, _act(payload, instant_of(payload, "decide_time"), payload.note))


def _resolved(payload: dispatcher.TicketResolved) -> Fact:
    return Resolved(TicketId(ticket_id_of(payload)), _act(payload, instant_of(payload, "resolve_time"), payload.resolution))


def _declined(payload: dispatcher.TicketDeclined) -> Fact:
    reason = "\n".join(part for part in (payload.reason, payload.right_channel) if part)
    return Declined(TicketId(ticket_id_of(payload)), reason, instant_of(payload, "decline_time"))


def _due(kind: str) -> Callable[[Any], Fact | None]:
    def read(payload: Any) -> Fact | None:  # noqa: ANN401 - several messages with the same fields
        deadline = payload.deadline
        if deadline.kind != deadline_pb2.DEADLINE_KIND_RESOLUTION:
            return None
        due = instant_of(deadline, "due_time") if deadline.HasField("due_time") else None
        return DueTimeChanged(TicketId(ticket_id_of(deadline)), kind, due, instant_of(payload, "event_time"), deadline.cycle)

    return read


READING: Reading[Fact] = Reading(
    (dispatcher.TicketDispatched, _dispatched),
    (dispatcher.TicketSentToTriage, _triage),
    (dispatcher.TicketAccepted, _accepted),
    (dispatcher.TicketReturned, _returned),
    (dispatcher.SupplementRequested, _supplement),
    (dispatcher.ProgressReported, _progress),
    (dispatcher.ExtensionRequested, _extension_requested),
    (dispatcher.ExtensionDecided, _extension_decided),
    (dispatcher.TicketResolved, _resolved),
    (dispatcher.TicketDeclined, _declined),
    (sla.DeadlineSet, _due("due_time_set")),
    (sla.DeadlinePaused, _due("clock_paused")),
    (sla.DeadlineResumed, _due("clock_resumed")),
    (sla.DeadlineExtended, _due("due_time_extended")),
    (sla.DeadlineAtRisk, _due("due_time_near")),
    (sla.DeadlineBreached, _due("due_time_passed")),
)
"""What other services tell that a ticket's course depends on."""
