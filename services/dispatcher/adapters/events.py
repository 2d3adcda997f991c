"""Protobuf on topics: what other services tell, what units answer, what the dispatcher announces and what it pushes to units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from google.protobuf import json_format

from chassis.instant import to_timestamp
from chassis.message import JSON, InvalidMessage, OutMessage, new_id, proto_message
from chassis.reading import Reading, instant_of, ticket_id_of
from paidan.classifier.v1 import classification_pb2
from paidan.classifier.v1 import events_pb2 as classifier
from paidan.dispatcher.v1 import dispatch_pb2, unit_messages_pb2
from paidan.dispatcher.v1 import events_pb2 as dispatcher
from paidan.intake.v1 import events_pb2 as intake
from paidan.sla.v1 import deadline_pb2
from paidan.sla.v1 import events_pb2 as sla
from services.dispatcher.domain import events
from services.dispatcher.domain.commands import (
    DeliverSupplement,
    NoteDeadline,
    ReopenTicket,
    TakeClassification,
    TakeTicket,
    WithdrawTicket,
)
from services.dispatcher.domain.values import (
    AbstainReason,
    ClassCode,
    Classification,
    ClassProbability,
    DeadlineChange,
    DistrictCode,
    Supplement,
    Ticket,
    TicketId,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from google.protobuf.message import Message

    from services.dispatcher.domain.catalogue import Catalogue
    from services.dispatcher.domain.commands import News
    from services.dispatcher.domain.events import Event
    from services.dispatcher.domain.values import Assignment, Candidate, Extension, UnitCode

SOURCE = "/paidan/dispatcher"
TOPIC = "dispatcher.assignments.v1"
INTAKE_TOPIC = "intake.tickets.v1"
CLASSIFIER_TOPIC = "classifier.classifications.v1"
SLA_TOPIC = "sla.events.v1"

JsonObject = dict[str, Any]


def dispatch_topic(unit: str) -> str:
    """Return the topic that a unit's tickets are pushed to."""
    return f"dispatch.{unit}.v1"


def receipts_topic(unit: str) -> str:
    """Return the topic that a unit answers on."""
    return f"receipts.{unit}.v1"


# What other services tell


def _submitted(payload: intake.TicketSubmitted) -> TakeTicket:
    return TakeTicket(
        ticket=Ticket(
            ticket_id=TicketId(ticket_id_of(payload)),
            number=payload.number,
            uscc=payload.enterprise.uscc,
            enterprise_name=payload.enterprise.name,
            request_district=payload.district_code,
            enterprise_district=payload.enterprise_district_code,
            text=payload.text,
            confidential=payload.confidential,
            submit_time=instant_of(payload, "submit_time"),
        ),
    )


def _supplemented(payload: intake.TicketSupplemented) -> DeliverSupplement:
    return DeliverSupplement(
        ticket_id=TicketId(ticket_id_of(payload)),
        supplement=Supplement(
            text=payload.text,
            attachment_refs=tuple(payload.attachment_refs),
            supplement_time=instant_of(payload, "supplement_time"),
        ),
    )


def _withdrawn(payload: intake.TicketWithdrawn) -> WithdrawTicket:
    return WithdrawTicket(ticket_id=TicketId(ticket_id_of(payload)), reason=payload.reason)


def _reopened(payload: intake.TicketReopened) -> ReopenTicket:
    if payload.reopen_count < 1:
        raise InvalidMessage("INCOMPLETE", f"reopen_count is {payload.reopen_count}, must be 1 or more")
    return ReopenTicket(ticket_id=TicketId(ticket_id_of(payload)), reason=payload.reason, reopen_count=payload.reopen_count)


_ABSTENTIONS = {
    classification_pb2.ABSTAIN_REASON_UNSPECIFIED: AbstainReason.UNSURE,
    classification_pb2.ABSTAIN_REASON_UNSURE: AbstainReason.UNSURE,
    classification_pb2.ABSTAIN_REASON_OUT_OF_SCOPE: AbstainReason.OUT_OF_SCOPE,
    classification_pb2.ABSTAIN_REASON_TOO_LITTLE: AbstainReason.TOO_LITTLE,
}


def _classified(payload: classifier.TicketClassified) -> TakeClassification:
    answer = payload.classification
    return TakeClassification(
        ticket_id=TicketId(ticket_id_of(payload)),
        classification=Classification(
            ranked=tuple(
                ClassProbability(class_code=ClassCode(each.class_code), probability=_probability(each.probability))
                for each in answer.classes
            ),
            abstain_reason=_ABSTENTIONS.get(answer.abstain_reason, AbstainReason.UNSURE) if answer.abstained else None,
            model_version=answer.model_version,
        ),
    )


def _probability(value: float) -> float:
    if not 0 <= value <= 1:
        raise InvalidMessage("OUT_OF_RANGE", f"a probability is {value}")
    return value


def _deadline(change: DeadlineChange) -> Callable[[Any], NoteDeadline | None]:
    def read(payload: Any) -> NoteDeadline | None:  # noqa: ANN401 - several messages with the same fields
        deadline = payload.deadline
        if deadline.kind != deadline_pb2.DEADLINE_KIND_RESOLUTION:
            return None
        due_time = instant_of(deadline, "due_time") if deadline.HasField("due_time") else None
        return NoteDeadline(ticket_id=TicketId(ticket_id_of(deadline)), change=change, due_time=due_time, cycle=deadline.cycle)

    return read


READING: Reading[News] = Reading(
    (intake.TicketSubmitted, _submitted),
    (intake.TicketSupplemented, _supplemented),
    (intake.TicketWithdrawn, _withdrawn),
    (intake.TicketReopened, _reopened),
    (classifier.TicketClassified, _classified),
    (sla.DeadlineSet, _deadline(DeadlineChange.SET)),
    (sla.DeadlinePaused, _deadline(DeadlineChange.PAUSED)),
    (sla.DeadlineResumed, _deadline(DeadlineChange.RESUMED)),
    (sla.DeadlineExtended, _deadline(DeadlineChange.EXTENDED)),
    (sla.DeadlineAtRisk, _deadline(DeadlineChange.AT_RISK)),
    (sla.DeadlineBreached, _deadline(DeadlineChange.BREACHED)),
    (sla.DeadlineMet, _deadline(DeadlineChange.MET)),
    (sla.DeadlineCancelled, _deadline(DeadlineChange.CANCELLED)),
)
"""What other services tell that a dispatch depends on."""


# What the dispatcher says


def candidate_messages(candidates: Iterable[Candidate]) -> list[dispatch_pb2.Candidate]:
    """Return candidates as messages."""
    return [
        dispatch_pb2.Candidate(
            unit=each.unit,
            class_code=each.class_code,
            class_probability=each.class_probability,
            relevance=each.relevance,
        )
        for each in candidates
    ]


def extension_message(extension: Extension) -> dispatch_pb2.ExtensionRequest:
    """Return a unit's wish for more time as a message."""
    return dispatch_pb2.ExtensionRequest(
        workdays=extension.workdays,
        reason=extension.reason,
        request_time=to_timestamp(extension.request_time),
    )


def refused_message(unit: str, *, receipt_id: str, ticket_id: str, number: str, reason: str, message: str, now: datetime) -> OutMessage:
    """Build the message that tells a unit that a receipt of its own was refused."""
    refused = _json(unit_messages_pb2.ReceiptRefused(receipt_id=receipt_id, reason=f"ERROR_REASON_{reason}", message=message))
    return _unit_message(unit, now, ticket_id=ticket_id, number=number, refused=refused)


class Announcer:
    """Turns what happened to a dispatch into messages.

    Those to the units come first, so that they lie on the units' topics before anyone else is told.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._by_type: Mapping[type, Callable[[Any], Iterator[OutMessage]]] = {
            events.LeadAssigned: self._lead_assigned,
            events.LeadReleased: self._lead_released,
            events.SentToTriage: self._sent_to_triage,
            events.LeadAccepted: self._lead_accepted,
            events.LeadReturned: self._lead_returned,
            events.SupplementAsked: self._supplement_asked,
            events.SupplementArrived: self._supplement_arrived,
            events.ProgressMade: self._progress_made,
            events.ExtensionAsked: self._extension_asked,
            events.ExtensionSettled: self._extension_settled,
            events.LeadResolved: self._lead_resolved,
            events.TicketDeclined: self._ticket_declined,
            events.DeadlineMoved: self._deadline_moved,
        }

    def messages(self, event: Event) -> Sequence[OutMessage]:
        """Return the messages of an event, in the order in which they are to be published; some events are for the record only."""
        announce = self._by_type.get(type(event))
        return list(announce(event)) if announce else []

    def _lead_assigned(self, event: events.LeadAssigned) -> Iterator[OutMessage]:
        assignment = event.assignment
        yield from self._orders(event)
        for supplement in event.supplements:
            body = _supplement(supplement)
            for unit in assignment.participants:
                yield _about(event.ticket, unit, assignment.epoch, event.time, supplement=body)
        if event.due_time is not None:
            notice = _json(unit_messages_pb2.DeadlineNotice(kind=DeadlineChange.SET, due_time=to_timestamp(event.due_time)))
            yield _about(event.ticket, assignment.lead, assignment.epoch, event.time, deadline=notice)
        yield _announcement(
            event.ticket,
            event.time,
            dispatcher.TicketDispatched(
                ticket_id=event.ticket.ticket_id,
                epoch=assignment.epoch,
                lead_unit=assignment.lead,
                co_handler_units=assignment.co_handlers,
                class_code=assignment.class_code or "",
                class_probability=assignment.class_probability,
                district_code=assignment.district.code or "",
                method=dispatch_pb2.DispatchMethod.Value(f"DISPATCH_METHOD_{assignment.method}"),
                dispatch_time=to_timestamp(assignment.dispatch_time),
                decision_id=assignment.decision_id,
                explanation_zh=assignment.explanation,
            ),
        )

    def _lead_released(self, event: events.LeadReleased) -> Iterator[OutMessage]:
        cancelled = _json(unit_messages_pb2.DispatchCancelled(reason=event.reason, note=event.note))
        for unit in event.assignment.participants:
            yield _about(event.ticket, unit, event.assignment.epoch, event.time, cancelled=cancelled)

    def _sent_to_triage(self, event: events.SentToTriage) -> Iterator[OutMessage]:
        yield _announcement(
            event.ticket,
            event.time,
            dispatcher.TicketSentToTriage(
                ticket_id=event.ticket.ticket_id,
                reason=dispatch_pb2.TriageReason.Value(f"TRIAGE_REASON_{event.triage.reason}"),
                candidates=candidate_messages(event.triage.candidates),
                triage_time=to_timestamp(event.time),
                epoch=event.decision.epoch,
            ),
        )

    def _lead_accepted(self, event: events.LeadAccepted) -> Iterator[OutMessage]:
        accepted = dispatcher.TicketAccepted(
            ticket_id=event.ticket.ticket_id,
            epoch=event.epoch,
            unit=event.unit,
            accept_time=to_timestamp(event.time),
        )
        yield _announcement(event.ticket, event.time, accepted)

    def _lead_returned(self, event: events.LeadReturned) -> Iterator[OutMessage]:
        yield _announcement(
            event.ticket,
            event.time,
            dispatcher.TicketReturned(
                ticket_id=event.ticket.ticket_id,
                epoch=event.epoch,
                unit=event.unit,
                reason=dispatch_pb2.ReturnReason.Value(f"RETURN_REASON_{event.reason}"),
                suggested_unit=event.suggested_unit,
                note=event.note,
                return_time=to_timestamp(event.time),
                bounce_count=event.bounce_count,
            ),
        )

    def _supplement_asked(self, event: events.SupplementAsked) -> Iterator[OutMessage]:
        asked = dispatcher.SupplementRequested(
            ticket_id=event.ticket.ticket_id,
            epoch=event.epoch,
            unit=event.unit,
            question=event.question,
            request_time=to_timestamp(event.time),
        )
        yield _announcement(event.ticket, event.time, asked)

    def _supplement_arrived(self, event: events.SupplementArrived) -> Iterator[OutMessage]:
        body = _supplement(event.supplement)
        for unit in event.assignment.participants:
            yield _about(event.ticket, unit, event.assignment.epoch, event.time, supplement=body)

    def _progress_made(self, event: events.ProgressMade) -> Iterator[OutMessage]:
        reported = dispatcher.ProgressReported(
            ticket_id=event.ticket.ticket_id,
            epoch=event.epoch,
            unit=event.unit,
            note=event.note,
            report_time=to_timestamp(event.time),
        )
        yield _announcement(event.ticket, event.time, reported)

    def _extension_asked(self, event: events.ExtensionAsked) -> Iterator[OutMessage]:
        asked = dispatcher.ExtensionRequested(
            ticket_id=event.ticket.ticket_id,
            epoch=event.epoch,
            unit=event.unit,
            extension=extension_message(event.extension),
        )
        yield _announcement(event.ticket, event.time, asked)

    def _extension_settled(self, event: events.ExtensionSettled) -> Iterator[OutMessage]:
        told = _json(unit_messages_pb2.ExtensionDecision(granted=event.granted, workdays=event.workdays, note=event.note))
        yield _about(event.ticket, event.unit, event.epoch, event.time, extension=told)
        decided = dispatcher.ExtensionDecided(
            ticket_id=event.ticket.ticket_id,
            epoch=event.epoch,
            unit=event.unit,
            granted=event.granted,
            workdays=event.workdays,
            note=event.note,
            decide_time=to_timestamp(event.time),
        )
        yield _announcement(event.ticket, event.time, decided)

    def _lead_resolved(self, event: events.LeadResolved) -> Iterator[OutMessage]:
        resolved = dispatcher.TicketResolved(
            ticket_id=event.ticket.ticket_id,
            epoch=event.epoch,
            unit=event.unit,
            resolution=event.resolution,
            attachment_refs=event.attachment_refs,
            resolve_time=to_timestamp(event.time),
        )
        yield _announcement(event.ticket, event.time, resolved)

    def _ticket_declined(self, event: events.TicketDeclined) -> Iterator[OutMessage]:
        declined = dispatcher.TicketDeclined(
            ticket_id=event.ticket.ticket_id,
            reason=event.reason,
            right_channel=event.right_channel,
            decline_time=to_timestamp(event.time),
        )
        yield _announcement(event.ticket, event.time, declined)

    def _deadline_moved(self, event: events.DeadlineMoved) -> Iterator[OutMessage]:
        notice = _json(unit_messages_pb2.DeadlineNotice(kind=event.change, due_time=to_timestamp(event.due_time)))
        yield _about(event.ticket, event.unit, event.epoch, event.time, deadline=notice)

    def _orders(self, event: events.LeadAssigned) -> Iterator[OutMessage]:
        assignment = event.assignment
        order = _json(self._order(event))
        for unit in assignment.participants:
            role = unit_messages_pb2.UNIT_ROLE_LEAD if unit == assignment.lead else unit_messages_pb2.UNIT_ROLE_CO_HANDLER
            body = {"role": unit_messages_pb2.UnitRole.Name(role), **order}
            yield _about(event.ticket, unit, assignment.epoch, event.time, order=body)

    def _order(self, event: events.LeadAssigned) -> unit_messages_pb2.DispatchOrder:
        ticket, assignment = event.ticket, event.assignment
        entry = self._catalogue.classes.get(assignment.class_code) if assignment.class_code else None
        district = self._catalogue.districts.get(assignment.district.code) if assignment.district.code else None
        return unit_messages_pb2.DispatchOrder(
            lead_unit=assignment.lead,
            co_handler_units=assignment.co_handlers,
            responsible_department=entry.lead if entry else self._department(assignment),
            uscc="" if ticket.confidential else ticket.uscc,
            enterprise_name="" if ticket.confidential else ticket.enterprise_name,
            confidential=ticket.confidential,
            text=ticket.text,
            class_code=assignment.class_code or "",
            class_name_zh=entry.name_zh if entry else "",
            district_code=assignment.district.code or "",
            district_name_zh=district.name_zh if district else "",
            method=dispatch_pb2.DispatchMethod.Value(f"DISPATCH_METHOD_{assignment.method}"),
            explanation_zh=assignment.explanation,
            submit_time=to_timestamp(ticket.submit_time),
            note=assignment.note,
            final=event.final,
        )

    def _department(self, assignment: Assignment) -> str:
        """Without a class the matter is in the line of the department that leads, if one does."""
        return assignment.lead if DistrictCode(assignment.lead) not in self._catalogue.districts else ""


def _supplement(supplement: Supplement) -> JsonObject:
    return _json(unit_messages_pb2.SupplementDelivered(text=supplement.text, attachment_refs=supplement.attachment_refs))


def _announcement(ticket: Ticket, time: datetime, message: Message) -> OutMessage:
    return proto_message(TOPIC, ticket.ticket_id, message, time=time)


def _json(message: Message) -> JsonObject:
    return json_format.MessageToDict(message)


def _about(ticket: Ticket, unit: UnitCode, epoch: int, time: datetime, **body: JsonObject) -> OutMessage:
    return _unit_message(unit, time, ticket_id=ticket.ticket_id, number=ticket.number, epoch=epoch, **body)


def _unit_message(unit: str, time: datetime, *, ticket_id: str, number: str, epoch: int = 0, **body: JsonObject) -> OutMessage:
    """Build a message to a unit; `body` is one of its bodies.

    The envelope is written by hand: canonical protobuf JSON of the same order costs 5 times as much, and several units get it.
    """
    message_id = new_id()
    envelope = {"messageId": message_id, "unit": unit, "ticketId": ticket_id, "number": number, "epoch": epoch}
    told = {name: value for name, value in envelope.items() if value}
    timestamp = to_timestamp(time)
    send_time = {"sendTime": timestamp.ToJsonString()} if timestamp else {}
    return OutMessage(
        id=message_id,
        topic=dispatch_topic(unit),
        key=ticket_id or unit,
        type=_UNIT_MESSAGE,
        subject=ticket_id or unit,
        time=time,
        data=orjson.dumps({**told, **send_time, **body}),
        content_type=JSON,
    )


_UNIT_MESSAGE = unit_messages_pb2.UnitMessage.DESCRIPTOR.full_name
