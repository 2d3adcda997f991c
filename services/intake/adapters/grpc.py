"""The gRPC door of intake."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from chassis import page, trace
from chassis.gate import SlowReader, current_caller
from chassis.instant import RANGE, parse_instant, to_instant, to_timestamp
from paidan.intake.v1 import intake_service_pb2 as pb
from paidan.intake.v1 import ticket_pb2
from paidan.intake.v1.intake_service_pb2_grpc import IntakeServiceServicer
from services.intake.adapters.events import rating_message
from services.intake.application.get_contact import GetContact, GetContactHandler
from services.intake.application.rate_ticket import RateTicket, RateTicketHandler
from services.intake.application.read_tickets import GetTicket, ListTickets, get_ticket, list_tickets
from services.intake.application.reopen_ticket import ReopenTicket, ReopenTicketHandler
from services.intake.application.submit_tickets import Submitted, SubmitTicket
from services.intake.application.supplement_ticket import SupplementTicket, SupplementTicketHandler
from services.intake.application.withdraw_ticket import WithdrawTicket, WithdrawTicketHandler
from services.intake.domain.errors import InvalidPageToken, RequestIdReused, WatcherTooSlow
from services.intake.domain.fields import MAX_NAME, MAX_NOTE, MAX_PERSON, MAX_TEXT, FieldChecks, is_reference
from services.intake.domain.types import Channel, DistrictCode, PortalCode, RequestId, Solved, TicketId, TicketState, UnitCode, Version

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Iterable
    from concurrent.futures import Future
    from datetime import datetime

    from google.protobuf.timestamp_pb2 import Timestamp

    from chassis.clock import Clock
    from services.intake.adapters.sql import IntakeUnitOfWork
    from services.intake.adapters.watch import WatchHub
    from services.intake.domain.ticket import Change, Ticket

Q = TypeVar("Q")
A = TypeVar("A")

_STATES: dict[int, TicketState] = {ticket_pb2.TicketState.Value(f"TICKET_STATE_{state.value}"): state for state in TicketState}
_POSITION_PARTS = 2


class IntakeServicer(IntakeServiceServicer):
    """Checks requests, calls the use cases, answers."""

    def __init__(
        self,
        open_unit_of_work: Callable[[], IntakeUnitOfWork],
        submit: Callable[[SubmitTicket], Future[Submitted | RequestIdReused]],
        hub: WatchHub,
        clock: Clock,
        districts: Collection[DistrictCode],
    ) -> None:
        """Serve RPCs with `open_unit_of_work`; `submit` stores one submission durably; `districts` are the catalogue's codes."""
        self._open = open_unit_of_work
        self._submit = submit
        self._hub = hub
        self._districts = districts
        self._supplement = SupplementTicketHandler(clock)
        self._withdraw = WithdrawTicketHandler(clock)
        self._rate = RateTicketHandler(clock)
        self._reopen = ReopenTicketHandler(clock)
        self._get_contact = GetContactHandler(clock)

    async def SubmitTicket(self, request: pb.SubmitTicketRequest, context: object) -> pb.SubmitTicketResponse:  # noqa: N802, ARG002
        """See the contract."""
        answer = await asyncio.wrap_future(self._submit(_submission(request, _portal(), self._districts)))
        if isinstance(answer, RequestIdReused):
            raise answer
        return pb.SubmitTicketResponse(ticket=ticket_message(answer.ticket), duplicate=answer.duplicate)

    def GetTicket(self, request: pb.GetTicketRequest, context: object) -> pb.GetTicketResponse:  # noqa: N802, ARG002
        """See the contract."""
        ticket = self._carry_out(get_ticket, GetTicket(current_caller(), _reference(request.ticket_id)))
        return pb.GetTicketResponse(ticket=ticket_message(ticket))

    def ListTickets(self, request: pb.ListTicketsRequest, context: object) -> pb.ListTicketsResponse:  # noqa: N802, ARG002
        """See the contract."""
        query, size = _list_query(request)
        filters = _filters(query)
        tickets = list(self._carry_out(list_tickets, replace(query, after=_position(filters, request.page_token))))
        more = len(tickets) > size
        last = tickets[size - 1] if more else None
        return pb.ListTicketsResponse(
            tickets=[ticket_message(ticket) for ticket in tickets[:size]],
            next_page_token=page.encode_token(filters, [last.create_time.isoformat(), last.ticket_id]) if last else "",
        )

    async def WatchTicket(  # noqa: N802 - an async generator, which the stub does not foresee
        self,
        request: pb.WatchTicketRequest,
        context: object,  # noqa: ARG002
    ) -> AsyncGenerator[pb.WatchTicketResponse, None]:
        """See the contract."""
        after = Version(max(0, request.after_version))
        async with aclosing(self._hub.watch(_reference(request.ticket_id), current_caller(), after)) as changes:
            async for change in changes:
                try:
                    yield pb.WatchTicketResponse(change=change_message(change))
                except SlowReader as error:
                    # The transport has this change and gives it out before the refusal: it is the last that the watcher sees.
                    raise WatcherTooSlow(change.version) from error

    def SupplementTicket(self, request: pb.SupplementTicketRequest, context: object) -> pb.SupplementTicketResponse:  # noqa: N802, ARG002
        """See the contract."""
        checks = FieldChecks()
        command = SupplementTicket(
            portal=_portal(),
            reference=checks.reference("ticket_id", request.ticket_id),
            request_id=RequestId(checks.request_id("request_id", request.request_id)),
            text=checks.text("text", request.text, most=MAX_TEXT),
            attachment_refs=checks.attachments("attachment_refs", request.attachment_refs),
        )
        checks.done()
        answer = self._carry_out(self._supplement, command)
        return pb.SupplementTicketResponse(ticket=ticket_message(answer.ticket), duplicate=answer.duplicate)

    def WithdrawTicket(self, request: pb.WithdrawTicketRequest, context: object) -> pb.WithdrawTicketResponse:  # noqa: N802, ARG002
        """See the contract."""
        checks = FieldChecks()
        reference = checks.reference("ticket_id", request.ticket_id)
        reason = checks.text("reason", request.reason, most=MAX_NOTE, required=False)
        checks.done()
        command = WithdrawTicket(portal=_portal(), reference=reference, reason=reason)
        return pb.WithdrawTicketResponse(ticket=ticket_message(self._carry_out(self._withdraw, command)))

    def RateTicket(self, request: pb.RateTicketRequest, context: object) -> pb.RateTicketResponse:  # noqa: N802, ARG002
        """See the contract."""
        checks = FieldChecks()
        reference = checks.reference("ticket_id", request.ticket_id)
        solved = _enum(checks, "solved", ticket_pb2.Solved, request.solved)
        score = checks.score("score", request.score)
        comment = checks.text("comment", request.comment, most=MAX_NOTE, required=False)
        checks.done()
        command = RateTicket(portal=_portal(), reference=reference, solved=Solved(solved), score=score, comment=comment)
        return pb.RateTicketResponse(ticket=ticket_message(self._carry_out(self._rate, command)))

    def ReopenTicket(self, request: pb.ReopenTicketRequest, context: object) -> pb.ReopenTicketResponse:  # noqa: N802, ARG002
        """See the contract."""
        checks = FieldChecks()
        reference = checks.reference("ticket_id", request.ticket_id)
        reason = checks.text("reason", request.reason, most=MAX_NOTE)
        checks.done()
        command = ReopenTicket(portal=_portal(), reference=reference, reason=reason)
        return pb.ReopenTicketResponse(ticket=ticket_message(self._carry_out(self._reopen, command)))

    def GetContact(self, request: pb.GetContactRequest, context: object) -> pb.GetContactResponse:  # noqa: N802, ARG002
        """See the contract."""
        query = GetContact(UnitCode(current_caller().subject), _reference(request.ticket_id))
        ticket, contact = self._carry_out(self._get_contact, query)
        return pb.GetContactResponse(
            contact=ticket_pb2.Contact(name=contact.name, phone=contact.phone),
            enterprise=ticket_pb2.Enterprise(uscc=ticket.enterprise.uscc, name=ticket.enterprise.name),
        )

    def _carry_out(self, handler: Callable[[IntakeUnitOfWork, Q], A], command: Q) -> A:
        with self._open() as uow:
            answer = handler(uow, command)
            uow.commit()
        return answer


def ticket_message(ticket: Ticket) -> ticket_pb2.Ticket:
    """Return a ticket as a message."""
    return ticket_pb2.Ticket(
        ticket_id=ticket.ticket_id,
        number=ticket.number,
        portal=ticket.portal,
        enterprise=ticket_pb2.Enterprise(uscc=ticket.enterprise.uscc, name=ticket.enterprise.name),
        text=ticket.text,
        channel=ticket_pb2.Channel.Value(f"CHANNEL_{ticket.channel.value}"),
        district_code=ticket.district,
        confidential=ticket.confidential,
        state=ticket_pb2.TicketState.Value(f"TICKET_STATE_{ticket.state.value}"),
        version=ticket.version,
        create_time=to_timestamp(ticket.create_time),
        update_time=to_timestamp(ticket.update_time),
        due_time=to_timestamp(ticket.due_time),
        lead_unit=ticket.lead_unit or "",
        co_handler_units=ticket.co_handler_units,
        class_code=ticket.class_code or "",
        dispatch_epoch=ticket.dispatch_epoch,
        supplement_question=ticket.supplement_question,
        resolution=ticket.resolution,
        decline_reason=ticket.decline_reason,
        rating=None if ticket.rating is None else rating_message(ticket.rating),
        reopen_count=ticket.reopen_count,
    )


def change_message(change: Change) -> ticket_pb2.TicketChange:
    """Return a change as a message."""
    return ticket_pb2.TicketChange(
        ticket_id=change.ticket_id,
        version=change.version,
        state=ticket_pb2.TicketState.Value(f"TICKET_STATE_{change.state.value}"),
        occur_time=to_timestamp(change.occur_time),
        kind=change.kind,
        unit=change.unit or "",
        note=change.note,
    )


def _portal() -> PortalCode:
    return PortalCode(current_caller().subject)


def _reference(ticket_id: str) -> str:
    checks = FieldChecks()
    reference = checks.reference("ticket_id", ticket_id)
    checks.done()
    return reference


def _submission(request: pb.SubmitTicketRequest, portal: PortalCode, districts: Collection[DistrictCode]) -> SubmitTicket:
    checks = FieldChecks()
    command = {
        "request_id": RequestId(checks.request_id("request_id", request.request_id)),
        "uscc": checks.uscc("enterprise.uscc", request.enterprise.uscc),
        "enterprise_name": checks.text("enterprise.name", request.enterprise.name, most=MAX_NAME),
        "contact_name": checks.text("contact.name", request.contact.name, most=MAX_PERSON),
        "contact_phone": checks.phone("contact.phone", request.contact.phone),
        "text": checks.text("text", request.text, most=MAX_TEXT),
        "channel": _enum(checks, "channel", ticket_pb2.Channel, request.channel),
        "district": DistrictCode(checks.district("district_code", request.district_code, districts)),
    }
    checks.done()
    return SubmitTicket(
        portal=portal,
        confidential=request.confidential,
        traceparent=trace.current(),
        **{**command, "channel": Channel(command["channel"])},  # type: ignore[arg-type]  # each value has its field's type
    )


def _enum(checks: FieldChecks, field: str, kind: Any, value: int) -> str:  # noqa: ANN401 - an enum wrapper of protobuf
    """Return the name of an enum's value without its prefix; notes a problem if it is unspecified or unknown."""
    prefix = kind.Name(0).removesuffix("UNSPECIFIED")
    if value == 0 or value not in kind.values():
        names = ", ".join(kind.keys()[1:])
        checks.note(field, f"one of {names} is required")
        return ""
    name: str = kind.Name(value)
    return name.removeprefix(prefix)


def _list_query(request: pb.ListTicketsRequest) -> tuple[ListTickets, int]:
    """Return the query for the first page, and the size of a page; the query asks for one ticket more, to see whether a page follows."""
    checks = FieldChecks()
    uscc = checks.uscc("uscc", request.uscc) if request.uscc else ""
    states = _states(checks, request.states)
    create_time_from = _bound(checks, "create_time_from", request.create_time_from)
    create_time_until = _bound(checks, "create_time_until", request.create_time_until)
    size = _page_size(checks, request.page_size)
    checks.done()
    query = ListTickets(
        caller=current_caller(),
        uscc=uscc,
        states=states,
        create_time_from=create_time_from,
        create_time_until=create_time_until,
        after=None,
        size=size + 1,
    )
    return query, size


def _filters(query: ListTickets) -> dict[str, object]:
    return {
        "list": "tickets",
        "caller": [query.caller.role, query.caller.subject],
        "uscc": query.uscc,
        "states": sorted(query.states),
        "from": query.create_time_from,
        "until": query.create_time_until,
    }


def _states(checks: FieldChecks, values: Iterable[int]) -> tuple[TicketState, ...]:
    wanted = set(values)
    if not wanted <= _STATES.keys():
        checks.note("states", f"only {', '.join(ticket_pb2.TicketState.keys()[1:])} are allowed")
    return tuple(_STATES[value] for value in sorted(wanted & _STATES.keys()))


def _bound(checks: FieldChecks, field: str, timestamp: Timestamp) -> datetime | None:
    try:
        return to_instant(timestamp)
    except ValueError:
        checks.note(field, RANGE)
        return None


def _page_size(checks: FieldChecks, requested: int) -> int:
    try:
        return page.page_size(requested)
    except ValueError:
        checks.note("page_size", f"is {requested}, must be 0–{page.MAX_PAGE_SIZE}")
        return page.DEFAULT_PAGE_SIZE


def _position(filters: dict[str, object], token: str) -> tuple[datetime, TicketId] | None:
    try:
        position = page.decode_token(filters, token)
        if position is None:
            return None
        create_time, ticket_id = parse_instant(position[0]), position[1]
    except (page.InvalidPageToken, ValueError, IndexError) as error:
        raise InvalidPageToken from error
    if not is_reference(ticket_id) or len(position) != _POSITION_PARTS:
        raise InvalidPageToken
    return create_time, TicketId(ticket_id)
