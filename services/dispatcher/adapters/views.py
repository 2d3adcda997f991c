"""Dispatches, triage items and the catalogue as messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chassis.instant import to_timestamp
from paidan.dispatcher.v1 import dispatch_pb2, dispatcher_service_pb2
from services.dispatcher.adapters.events import candidate_messages, dispatch_topic, extension_message, receipts_topic
from services.dispatcher.domain.errors import DispatchNotFound

if TYPE_CHECKING:
    from datetime import date

    from services.dispatcher.application.ports import Seen
    from services.dispatcher.domain.catalogue import Catalogue, District, RequestClass, Unit
    from services.dispatcher.domain.dispatch import Dispatch
    from services.dispatcher.domain.values import DecisionRecord


def enum_value(kind: Any, name: str) -> Any:  # noqa: ANN401 - an enum of protobuf
    """Return the enum value for a name without prefix; unspecified for a name of a newer release."""
    prefix = kind.Name(0).removesuffix("UNSPECIFIED")
    return kind.Value(f"{prefix}{name}") if f"{prefix}{name}" in kind.keys() else 0  # noqa: SIM118 - no mapping


def dispatch_message(dispatch: Dispatch, decision: DecisionRecord | None) -> dispatch_pb2.Dispatch:
    """Return a dispatch as a message.

    Raises:
        DispatchNotFound: Its ticket was not submitted yet.
    """
    ticket, assignment = dispatch.ticket, dispatch.assignment
    if ticket is None:
        raise DispatchNotFound(dispatch.ticket_id)
    message = dispatch_pb2.Dispatch(
        ticket_id=ticket.ticket_id,
        number=ticket.number,
        epoch=dispatch.epoch,
        state=enum_value(dispatch_pb2.DispatchState, dispatch.state),
        submit_time=to_timestamp(ticket.submit_time),
        bounce_count=dispatch.bounce_count,
        final=dispatch.final,
        decision=decision_message(decision) if decision else None,
        pending_extension=extension_message(dispatch.pending_extension) if dispatch.pending_extension else None,
        due_time=to_timestamp(dispatch.due_time),
        text=ticket.text,
    )
    if assignment is not None:
        message.lead_unit = assignment.lead
        message.co_handler_units.extend(assignment.co_handlers)
        message.class_code = assignment.class_code or ""
        message.class_probability = assignment.class_probability
        message.district_code = assignment.district.code or ""
        message.method = enum_value(dispatch_pb2.DispatchMethod, assignment.method)
        message.dispatch_time.FromDatetime(assignment.dispatch_time)
    return message


def decision_message(decision: DecisionRecord) -> dispatch_pb2.DecisionRecord:
    """Return a decision record as a message."""
    choice = decision.choice
    return dispatch_pb2.DecisionRecord(
        decision_id=decision.decision_id,
        candidates=candidate_messages(choice.candidates),
        rules_hit=choice.rules_hit,
        threshold=decision.threshold,
        model_version=choice.model_version,
        catalogue_version=decision.catalogue_version,
        district_code=choice.district.code or "",
        district_source=choice.district.source.value,
        explanation_zh=choice.explanation,
        decide_time=to_timestamp(decision.decide_time),
    )


def triage_message(seen: Seen) -> dispatch_pb2.TriageItem:
    """Return a dispatch that waits for the desk as a message.

    Raises:
        DispatchNotFound: It does not wait for the desk.
    """
    ticket, triage = seen.dispatch.ticket, seen.dispatch.triage
    if ticket is None or triage is None:
        raise DispatchNotFound(seen.dispatch.ticket_id)
    return dispatch_pb2.TriageItem(
        ticket_id=ticket.ticket_id,
        number=ticket.number,
        text=ticket.text,
        reason=enum_value(dispatch_pb2.TriageReason, triage.reason),
        candidates=candidate_messages(triage.candidates),
        district_code=triage.district.code or "",
        submit_time=to_timestamp(ticket.submit_time),
        fallback_time=to_timestamp(triage.fallback_time),
        held_by_duty_desk=seen.dispatch.assignment is not None,
        return_note=triage.return_note,
    )


def catalogue_message(catalogue: Catalogue, day: date) -> dispatcher_service_pb2.GetCatalogueResponse:
    """Return the catalogue in force on a day."""
    return dispatcher_service_pb2.GetCatalogueResponse(
        version=catalogue.version,
        classes=[_class(entry) for entry in catalogue.classes.values()],
        units=[_unit(unit) for unit in catalogue.units_in_force(day)],
        districts=[_district(district) for district in catalogue.districts.values()],
    )


def _class(entry: RequestClass) -> dispatcher_service_pb2.CatalogueClass:
    return dispatcher_service_pb2.CatalogueClass(
        code=entry.code,
        name_zh=entry.name_zh,
        name_en=entry.name_en,
        lead_unit=entry.lead,
        level=dispatcher_service_pb2.CompetenceLevel.Value(f"COMPETENCE_LEVEL_{entry.level.name}"),
        domain_zh=entry.domain_zh,
    )


def _unit(unit: Unit) -> dispatcher_service_pb2.CatalogueUnit:
    return dispatcher_service_pb2.CatalogueUnit(
        code=unit.code,
        name_zh=unit.name_zh,
        kind=dispatcher_service_pb2.UnitKind.Value(f"UNIT_KIND_{unit.kind}"),
        dispatch_topic=dispatch_topic(unit.code),
        receipts_topic=receipts_topic(unit.code),
    )


def _district(district: District) -> dispatcher_service_pb2.CatalogueDistrict:
    return dispatcher_service_pb2.CatalogueDistrict(
        code=district.code,
        name_zh=district.name_zh,
        valid_to=district.valid_to.isoformat() if district.valid_to else "",
        succeeded_by=district.succeeded_by,
    )
