"""The gRPC door for units and for the desk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chassis.gate import current_caller
from chassis.instant import RANGE, parse_instant, to_instant
from chassis.page import InvalidPageToken, decode_token, encode_token, page_size
from paidan.dispatcher.v1 import dispatch_pb2
from paidan.dispatcher.v1 import dispatcher_service_pb2 as service
from paidan.dispatcher.v1.dispatcher_service_pb2_grpc import DispatcherServiceServicer
from services.dispatcher.adapters.receipts import request_key, return_reason
from services.dispatcher.adapters.views import catalogue_message, dispatch_message, triage_message
from services.dispatcher.application.act_once import act_once, remember_refusal
from services.dispatcher.application.carry_out import act
from services.dispatcher.application.ports import Position
from services.dispatcher.application.read_dispatches import GetDispatch, ListDispatches, get_dispatch, list_dispatches
from services.dispatcher.domain.checks import Violations, is_code
from services.dispatcher.domain.commands import (
    Accept,
    AssignByDesk,
    DecideExtension,
    DeclineByDesk,
    ReportProgress,
    RequestExtension,
    RequestSupplement,
    Resolve,
    Return,
    Transfer,
)
from services.dispatcher.domain.errors import DispatcherError, InvalidFields
from services.dispatcher.domain.values import State, TicketId, UnitCode, civil_day

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import Any

    from services.dispatcher.adapters.sql import DispatcherUnitOfWork
    from services.dispatcher.application.ports import Office, Reading, Seen
    from services.dispatcher.domain.commands import DeskCommand, UnitCommand


class DispatcherServicer(DispatcherServiceServicer):
    """Builds commands and queries from requests and answers with messages; errors are translated by the server."""

    def __init__(
        self,
        open_unit_of_work: Callable[[], AbstractContextManager[DispatcherUnitOfWork]],
        reading: Reading,
        office: Office,
    ) -> None:
        self._open = open_unit_of_work
        self._reading = reading
        self._office = office

    # Reading

    def GetDispatch(self, request: service.GetDispatchRequest, context: Any) -> service.GetDispatchResponse:  # noqa: ANN401, ARG002, N802 - gRPC's
        """Read the dispatch of a ticket."""
        seen = get_dispatch(self._reading, GetDispatch(caller=current_caller(), reference=request.ticket_id))
        return service.GetDispatchResponse(dispatch=dispatch_message(seen.dispatch, seen.decision))

    def ListDispatches(self, request: service.ListDispatchesRequest, context: Any) -> service.ListDispatchesResponse:  # noqa: ANN401, ARG002, N802
        """List dispatches."""
        caller = current_caller()
        states = tuple(_state(value) for value in request.states)
        filters = {"list": "dispatches", "caller": f"{caller.role}:{caller.subject}", "unit": request.unit, "states": sorted(states)}
        size = _page_size(request.page_size)
        query = ListDispatches(
            caller=caller,
            unit=request.unit,
            states=states,
            after=_position(filters, request.page_token),
            size=size + 1,
        )
        seen, token = _page(list_dispatches(self._reading, query), size, filters)
        return service.ListDispatchesResponse(
            dispatches=[dispatch_message(each.dispatch, each.decision) for each in seen],
            next_page_token=token,
        )

    def ListTriage(self, request: service.ListTriageRequest, context: Any) -> service.ListTriageResponse:  # noqa: ANN401, ARG002, N802
        """List what waits for the desk."""
        filters: dict[str, object] = {"list": "triage"}
        size = _page_size(request.page_size)
        seen, token = _page(self._reading.triage(_position(filters, request.page_token), size + 1), size, filters)
        return service.ListTriageResponse(items=[triage_message(each) for each in seen], next_page_token=token)

    def GetCatalogue(self, request: service.GetCatalogueRequest, context: Any) -> service.GetCatalogueResponse:  # noqa: ANN401, ARG002, N802
        """Read the catalogue."""
        try:
            as_of = to_instant(request.as_of)
        except ValueError as error:
            raise InvalidFields([("as_of", RANGE)]) from error
        return catalogue_message(self._office.chooser.catalogue, civil_day(as_of or self._office.clock.now()))

    # What a unit does

    def Accept(self, request: service.AcceptRequest, context: Any) -> service.AcceptResponse:  # noqa: ANN401, ARG002, N802
        """Sign for a ticket."""
        command = Accept(unit=_unit(), ticket_id=TicketId(request.ticket_id), epoch=request.epoch)
        return service.AcceptResponse(dispatch=self._act_once(command, request.request_id))

    def Return(self, request: service.ReturnRequest, context: Any) -> service.ReturnResponse:  # noqa: ANN401, ARG002, N802
        """Send a ticket back."""
        command = Return(
            unit=_unit(),
            ticket_id=TicketId(request.ticket_id),
            epoch=request.epoch,
            reason=return_reason(request.reason),
            suggested_unit=request.suggested_unit,
            note=request.note,
        )
        return service.ReturnResponse(dispatch=self._act_once(command, request.request_id))

    def RequestSupplement(self, request: service.RequestSupplementRequest, context: Any) -> service.RequestSupplementResponse:  # noqa: ANN401, ARG002, N802
        """Ask the enterprise for material."""
        command = RequestSupplement(
            unit=_unit(),
            ticket_id=TicketId(request.ticket_id),
            epoch=request.epoch,
            question=request.question,
        )
        return service.RequestSupplementResponse(dispatch=self._act_once(command, request.request_id))

    def RequestExtension(self, request: service.RequestExtensionRequest, context: Any) -> service.RequestExtensionResponse:  # noqa: ANN401, ARG002, N802
        """Ask the desk for more time."""
        command = RequestExtension(
            unit=_unit(),
            ticket_id=TicketId(request.ticket_id),
            epoch=request.epoch,
            workdays=request.workdays,
            reason=request.reason,
        )
        return service.RequestExtensionResponse(dispatch=self._act_once(command, request.request_id))

    def ReportProgress(self, request: service.ReportProgressRequest, context: Any) -> service.ReportProgressResponse:  # noqa: ANN401, ARG002, N802
        """Tell the enterprise how far it is."""
        command = ReportProgress(unit=_unit(), ticket_id=TicketId(request.ticket_id), epoch=request.epoch, note=request.note)
        return service.ReportProgressResponse(dispatch=self._act_once(command, request.request_id))

    def Resolve(self, request: service.ResolveRequest, context: Any) -> service.ResolveResponse:  # noqa: ANN401, ARG002, N802
        """Say that it is solved."""
        command = Resolve(
            unit=_unit(),
            ticket_id=TicketId(request.ticket_id),
            epoch=request.epoch,
            resolution=request.resolution,
            attachment_refs=tuple(request.attachment_refs),
        )
        return service.ResolveResponse(dispatch=self._act_once(command, request.request_id))

    # What the desk does

    def DecideTriage(self, request: service.DecideTriageRequest, context: Any) -> service.DecideTriageResponse:  # noqa: ANN401, ARG002, N802
        """Decide a ticket that waits for the desk."""
        return service.DecideTriageResponse(dispatch=self._act(_desk_decision(request)))

    def Transfer(self, request: service.TransferRequest, context: Any) -> service.TransferResponse:  # noqa: ANN401, ARG002, N802
        """Move a ticket to another unit."""
        command = Transfer(
            desk=current_caller().subject,
            ticket_id=TicketId(request.ticket_id),
            epoch=request.epoch,
            unit=request.unit,
            reason=request.reason,
        )
        return service.TransferResponse(dispatch=self._act(command))

    def DecideExtension(self, request: service.DecideExtensionRequest, context: Any) -> service.DecideExtensionResponse:  # noqa: ANN401, ARG002, N802
        """Grant or refuse an extension."""
        command = DecideExtension(
            desk=current_caller().subject,
            ticket_id=TicketId(request.ticket_id),
            granted=request.granted,
            workdays=request.workdays,
            note=request.note,
        )
        return service.DecideExtensionResponse(dispatch=self._act(command))

    def _act_once(self, command: UnitCommand, request_id: str) -> dispatch_pb2.Dispatch:
        """Execute a unit's request, at most once per request id if it has one."""
        if not request_id:
            return self._act(command)
        violations = Violations()
        violations.code("request_id", request_id)
        violations.raise_if_any()
        key = request_key(command.unit, request_id)
        try:
            with self._open() as uow:
                dispatch = act_once(self._office, uow, command, key=key, request_id=request_id)
                decision = uow.dispatches.decision_of(dispatch)
                uow.commit()
        except DispatcherError:
            with self._open() as uow:
                remember_refusal(uow, command, key=key)
                uow.commit()
            raise
        return dispatch_message(dispatch, decision)

    def _act(self, command: UnitCommand | DeskCommand) -> dispatch_pb2.Dispatch:
        with self._open() as uow:
            dispatch = act(self._office, uow, command)
            decision = uow.dispatches.decision_of(dispatch)
            uow.commit()
        return dispatch_message(dispatch, decision)


def _unit() -> UnitCode:
    return UnitCode(current_caller().subject)


def _desk_decision(request: service.DecideTriageRequest) -> AssignByDesk | DeclineByDesk:
    desk, ticket_id = current_caller().subject, TicketId(request.ticket_id)
    match request.WhichOneof("decision"):
        case "assign":
            return AssignByDesk(
                desk=desk,
                ticket_id=ticket_id,
                unit=request.assign.unit,
                co_handlers=tuple(request.assign.co_handler_units),
                class_code=request.assign.class_code,
                note=request.assign.note,
            )
        case "decline":
            return DeclineByDesk(
                desk=desk,
                ticket_id=ticket_id,
                reason=request.decline.reason,
                right_channel=request.decline.right_channel,
            )
        case _:
            raise InvalidFields([("decision", "is required: assign or decline")])


_STATES: Mapping[int, State] = {
    dispatch_pb2.DispatchState.Value(f"DISPATCH_STATE_{state}"): state for state in State if state is not State.UNSUBMITTED
}


def _state(value: int) -> State:
    state = _STATES.get(value)
    if state is None:
        raise InvalidFields([("states", f"{value} is no state to filter by")])
    return state


def _page_size(requested: int) -> int:
    try:
        return page_size(requested)
    except ValueError as error:
        raise InvalidFields([("page_size", f"is {requested}; 0 to 200 are allowed")]) from error


def _position(filters: Mapping[str, object], token: str) -> Position | None:
    match decode_token(filters, token):
        case None:
            return None
        case (time, ticket_id) if is_code(ticket_id):
            try:
                return Position(time=parse_instant(time), ticket_id=TicketId(ticket_id))
            except ValueError as error:
                raise InvalidPageToken from error
        case _:
            raise InvalidPageToken


def _page(seen: Sequence[Seen], size: int, filters: Mapping[str, object]) -> tuple[Sequence[Seen], str]:
    """Cut a page off what was read, one more than fits; returns it with the token of the next one, empty if it is the last."""
    page = seen[:size]
    if len(seen) <= size:
        return page, ""
    last = page[-1].position
    return page, encode_token(filters, (last.time.isoformat(), last.ticket_id))
