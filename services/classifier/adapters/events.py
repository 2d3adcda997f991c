"""The classifier's messages: what it reads becomes commands, what it tells becomes protobuf."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from chassis.message import OutMessage
from chassis.reading import parse, ticket_id_of
from paidan.classifier.v1 import classification_pb2, events_pb2
from paidan.intake.v1 import events_pb2 as intake_pb2
from services.classifier.application.advise_on_tickets import AdviseOnTicket
from services.classifier.application.classify_tickets import ClassifyTicket
from services.classifier.domain.classification import AbstainReason

if TYPE_CHECKING:
    from chassis.message import InMessage
    from services.classifier.domain.classification import Classification
    from services.classifier.domain.events import TicketClassified

TICKETS = "intake.tickets.v1"
CLASSIFICATIONS = "classifier.classifications.v1"
UNSURE = "classifier.unsure.v1"
"""Submissions on which the model abstained, for the consumer that takes advice on them: our own topic, nobody else's."""

SOURCE = "/paidan/classifier"

_SUBMITTED = intake_pb2.TicketSubmitted.DESCRIPTOR.full_name
_NAMESPACE = uuid.UUID("2d1b7a0e-6c55-4f0b-9d0e-3a5c7e9f1b24")
_REASONS = {
    None: classification_pb2.ABSTAIN_REASON_UNSPECIFIED,
    AbstainReason.UNSURE: classification_pb2.ABSTAIN_REASON_UNSURE,
    AbstainReason.OUT_OF_SCOPE: classification_pb2.ABSTAIN_REASON_OUT_OF_SCOPE,
    AbstainReason.TOO_LITTLE: classification_pb2.ABSTAIN_REASON_TOO_LITTLE,
}


def tells_of_submission(message: InMessage) -> bool:
    """Say whether a message tells of a submitted ticket; only these carry a text to classify."""
    return message.type == _SUBMITTED


def to_command(message: InMessage) -> ClassifyTicket:
    """Return the command that a `TicketSubmitted` asks for.

    Raises:
        InvalidMessage: It is not protobuf, or names no ticket.
    """
    event = parse(message, intake_pb2.TicketSubmitted)
    return ClassifyTicket(cause_id=message.id or message.position, ticket_id=ticket_id_of(event), text=event.text)


def to_question(message: InMessage) -> AdviseOnTicket:
    """Return the command that asks for advice on the ticket that a `TicketSubmitted` tells of.

    Raises:
        InvalidMessage: It is not protobuf, or names no ticket.
    """
    return AdviseOnTicket(ticket=to_command(message), submit_time=message.time)


def passed_on(message: InMessage) -> OutMessage:
    """Return a submission once more, the same event on the topic of those on which the model abstained."""
    return OutMessage(
        id=message.id or message.position,
        topic=UNSURE,
        key=message.key,
        type=message.type,
        subject=message.subject,
        time=message.time,
        data=message.data,
        content_type=message.content_type,
        traceparent=message.traceparent,
    )


def to_message(event: TicketClassified, traceparent: str | None) -> OutMessage:
    """Return the message that tells of a classification; the same cause and model give the same id.

    Advice is not part of the id: a language model may say something else when it is asked again, and then the first answer stands.
    """
    payload = events_pb2.TicketClassified(
        ticket_id=event.ticket_id,
        classification=to_proto(event.classification),
    )
    payload.classify_time.FromDatetime(event.classify_time)
    return OutMessage(
        id=str(uuid.uuid5(_NAMESPACE, f"{event.cause_id} {event.classification.model_version}")),
        topic=CLASSIFICATIONS,
        key=event.ticket_id,
        type=payload.DESCRIPTOR.full_name,
        subject=event.ticket_id,
        time=event.classify_time,
        data=payload.SerializeToString(deterministic=True),
        traceparent=traceparent,
    )


def to_proto(classification: Classification) -> classification_pb2.Classification:
    """Return an answer as protobuf."""
    return classification_pb2.Classification(
        classes=[
            classification_pb2.ClassProbability(class_code=each.code, probability=each.probability) for each in classification.classes
        ],
        abstained=classification.abstained,
        abstain_reason=_REASONS[classification.abstain_reason],
        evidence=[classification_pb2.EvidenceSpan(start=span.start, end=span.end, weight=span.weight) for span in classification.evidence],
        model_version="+".join(filter(None, (classification.model_version, classification.adviser))),
        issue_codes=classification.issues,
        district_code=classification.district or "",
        slots=[classification_pb2.Slot(key=slot.key, value=slot.value, start=slot.start, end=slot.end) for slot in classification.slots],
        flags=[classification_pb2.Flag(kind=flag.kind, start=flag.start, end=flag.end) for flag in classification.flags],
    )
