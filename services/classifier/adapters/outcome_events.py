"""Protobuf on topics: what intake, the dispatcher and the classifier itself tell of tickets, as facts to learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chassis.reading import Reading, instant_of, ticket_id_of
from paidan.classifier.v1 import events_pb2 as classifier
from paidan.dispatcher.v1 import dispatch_pb2
from paidan.dispatcher.v1 import events_pb2 as dispatcher
from paidan.intake.v1 import events_pb2 as intake
from services.classifier.adapters.events import CLASSIFICATIONS, TICKETS
from services.classifier.application.note_outcome import Act, Acted, Assigned, Predicted, Returned, Submitted, Turn, Turned
from services.classifier.domain.classification import ClassCode, ClassProbability, ModelVersion
from services.classifier.domain.outcomes import Assignment, ChosenBy, Epoch, Prediction, ReturnReason, TicketId, UnitCode

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from services.classifier.application.note_outcome import Fact

ASSIGNMENTS = "dispatcher.assignments.v1"
TOPICS = (TICKETS, CLASSIFICATIONS, ASSIGNMENTS)

_CHOSEN_BY = {
    dispatch_pb2.DISPATCH_METHOD_AUTO: ChosenBy.MODEL,
    dispatch_pb2.DISPATCH_METHOD_RULES: ChosenBy.RULES,
    dispatch_pb2.DISPATCH_METHOD_TRIAGE: ChosenBy.DESK,
    dispatch_pb2.DISPATCH_METHOD_SUGGESTION: ChosenBy.UNIT,
    dispatch_pb2.DISPATCH_METHOD_TRANSFER: ChosenBy.TRANSFER,
    dispatch_pb2.DISPATCH_METHOD_REOPEN: ChosenBy.REOPENING,
}
_REASONS = {
    dispatch_pb2.RETURN_REASON_NOT_OUR_COMPETENCE: ReturnReason.NOT_COMPETENT,
    dispatch_pb2.RETURN_REASON_NOT_A_CITY_MATTER: ReturnReason.NOT_COMPETENT,
    dispatch_pb2.RETURN_REASON_WRONG_DISTRICT: ReturnReason.WRONG_DISTRICT,
}


def _submitted(payload: intake.TicketSubmitted) -> Submitted:
    return Submitted(
        ticket_id=TicketId(ticket_id_of(payload)),
        text=payload.text,
        confidential=payload.confidential,
        submit_time=instant_of(payload, "submit_time"),
    )


def _predicted(payload: classifier.TicketClassified) -> Predicted | None:
    answer = payload.classification
    if not answer.classes:
        return None
    ranked = tuple(ClassProbability(ClassCode(each.class_code), each.probability) for each in answer.classes)
    return Predicted(ticket_id=TicketId(ticket_id_of(payload)), prediction=Prediction(ranked, ModelVersion(answer.model_version)))


def _assigned(payload: dispatcher.TicketDispatched) -> Assigned:
    assignment = Assignment(
        unit=UnitCode(payload.lead_unit),
        chosen_by=_CHOSEN_BY.get(payload.method, ChosenBy.NOBODY),
        class_code=ClassCode(payload.class_code) if payload.class_code else None,
    )
    return Assigned(ticket_id=TicketId(ticket_id_of(payload)), epoch=Epoch(payload.epoch), assignment=assignment)


def _returned(payload: dispatcher.TicketReturned) -> Returned:
    reason = _REASONS.get(payload.reason, ReturnReason.NOT_THE_CLASS)
    return Returned(ticket_id=TicketId(ticket_id_of(payload)), epoch=Epoch(payload.epoch), reason=reason)


def _acted(act: Act) -> Callable[[Any], Acted]:
    return lambda payload: Acted(ticket_id=TicketId(ticket_id_of(payload)), epoch=Epoch(payload.epoch), act=act)


def _turned(turn: Turn) -> Callable[[Any], Turned]:
    return lambda payload: Turned(ticket_id=TicketId(ticket_id_of(payload)), turn=turn)


READING: Reading[Fact] = Reading(
    (intake.TicketSubmitted, _submitted),
    (intake.TicketReopened, _turned(Turn.REOPENED)),
    (intake.TicketClosed, _turned(Turn.CLOSED)),
    (intake.TicketWithdrawn, _turned(Turn.WITHDRAWN)),
    (classifier.TicketClassified, _predicted),
    (dispatcher.TicketDispatched, _assigned),
    (dispatcher.TicketReturned, _returned),
    (dispatcher.TicketAccepted, _acted(Act.ACCEPTED)),
    (dispatcher.TicketResolved, _acted(Act.RESOLVED)),
    (dispatcher.TicketDeclined, _turned(Turn.DECLINED)),
)
"""What there is to learn from."""
