"""The gRPC door of the SLA service."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from chassis import page
from chassis.gate import current_caller
from chassis.instant import EARLIEST, LATEST, RANGE, parse_instant, to_instant, to_timestamp
from paidan.sla.v1 import sla_service_pb2 as pb
from paidan.sla.v1.sla_service_pb2_grpc import SlaServiceServicer
from services.sla.adapters.events import deadline_message
from services.sla.application.compute_deadline import ComputeDeadline, compute_deadline
from services.sla.application.list_due import ListDue, list_due
from services.sla.application.ports import DueFilter, DuePosition
from services.sla.application.read_calendar import ReadCalendar, read_calendar
from services.sla.application.read_deadlines import ReadDeadlines, read_deadlines
from services.sla.domain.clock import Pause
from services.sla.domain.deadline import Deadline, TicketId
from services.sla.domain.errors import InvalidFields, InvalidPageToken, Problem
from services.sla.domain.facts import Cycle, UnitCode
from services.sla.domain.promise import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message
    from google.protobuf.timestamp_pb2 import Timestamp

    from services.sla.application.ports import DeadlineReader
    from services.sla.domain.promise import Rules

_MOST_CYCLES = 1_000_000


class SlaServicer(SlaServiceServicer):
    """Checks requests, calls the use cases, answers."""

    def __init__(self, reader: DeadlineReader, rules: Callable[[], Rules]) -> None:
        """Answer with what `reader` reads, and by the rules that `rules` returns."""
        self._reader = reader
        self._rules = rules

    def GetDeadlines(self, request: pb.GetDeadlinesRequest, context: object) -> pb.GetDeadlinesResponse:  # noqa: N802, ARG002
        """See the contract."""
        query = ReadDeadlines(caller=current_caller(), ticket_id=TicketId(request.ticket_id))
        found = read_deadlines(self._reader, query)
        return pb.GetDeadlinesResponse(deadlines=[deadline_message(deadline) for deadline in found])

    def ListDue(self, request: pb.ListDueRequest, context: object) -> pb.ListDueResponse:  # noqa: N802, ARG002
        """See the contract."""
        wanted = DueFilter(
            unit=UnitCode(request.unit) if request.unit else None,
            due_time_from=_optional_instant(request, "due_time_from"),
            due_time_until=_optional_instant(request, "due_time_until"),
        )
        filters = _filters(wanted)
        size = _page_size(request.page_size)
        query = ListDue(
            caller=current_caller(),
            wanted=wanted,
            after=_position(filters, request.page_token),
            size=size + 1,
        )
        found = list(list_due(self._reader, query))
        page_, more = found[:size], len(found) > size
        return pb.ListDueResponse(
            deadlines=[deadline_message(deadline) for deadline in page_],
            next_page_token=page.encode_token(filters, _place(page_[-1])) if more else "",
        )

    def ComputeDeadline(self, request: pb.ComputeDeadlineRequest, context: object) -> pb.ComputeDeadlineResponse:  # noqa: N802, ARG002
        """See the contract."""
        rules = self._rules()
        query = ComputeDeadline(
            start_time=_instant(request, "start_time"),
            workdays=request.workdays,
            pauses=tuple(
                Pause(
                    _instant(pause, "pause_time", f"pauses[{n}].pause_time"),
                    _optional_instant(pause, "resume_time", f"pauses[{n}].resume_time"),
                )
                for n, pause in enumerate(request.pauses)
            ),
            extension_workdays=request.extension_workdays,
        )
        due = compute_deadline(rules, query)
        return pb.ComputeDeadlineResponse(due_time=to_timestamp(due), calendar_version=rules.calendar_version)

    def GetCalendar(self, request: pb.GetCalendarRequest, context: object) -> pb.GetCalendarResponse:  # noqa: N802, ARG002
        """See the contract."""
        rules = self._rules()
        query = ReadCalendar(from_date=_date("from_date", request.from_date), until_date=_date("until_date", request.until_date))
        days = [
            pb.CalendarDay(date=day.isoformat(), kind=pb.DayKind.Value(f"DAY_KIND_{kind.name}"))
            for day, kind in read_calendar(rules, query)
        ]
        return pb.GetCalendarResponse(days=days, calendar_version=rules.calendar_version)


def _invalid(field: str, description: str) -> InvalidFields:
    return InvalidFields([Problem(field, description)])


def _instant(message: Message, name: str, path: str | None = None) -> datetime:
    found = _optional_instant(message, name, path)
    if found is None:
        raise _invalid(path or name, "is required")
    return found


def _optional_instant(message: Message, name: str, path: str | None = None) -> datetime | None:
    timestamp: Timestamp = getattr(message, name)
    try:
        return to_instant(timestamp)
    except ValueError as error:
        raise _invalid(path or name, RANGE) from error


def _date(field: str, text: str) -> date:
    try:
        found = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError as error:
        raise _invalid(field, "must be a date `YYYY-MM-DD`") from error
    if not EARLIEST.date() <= found < LATEST.date():
        raise _invalid(field, RANGE)
    return found


def _page_size(requested: int) -> int:
    try:
        return page.page_size(requested)
    except ValueError as error:
        raise _invalid("page_size", f"is {requested}, must be 0–{page.MAX_PAGE_SIZE}") from error


def _filters(wanted: DueFilter) -> dict[str, object]:
    caller = current_caller()
    return {
        "list": "due",
        "caller": [caller.role, caller.subject],
        "unit": wanted.unit,
        "from": wanted.due_time_from,
        "until": wanted.due_time_until,
    }


def _place(deadline: Deadline) -> tuple[str, str, str, str]:
    due = "" if deadline.due_time is None else deadline.due_time.isoformat()
    return due, deadline.ticket_id, deadline.kind.value, str(deadline.cycle)


def _position(filters: dict[str, object], token: str) -> DuePosition | None:
    try:
        position = page.decode_token(filters, token)
        if position is None:
            return None
        due, ticket_id, kind, number = position
        cycle = Cycle(int(number))
        if not 0 <= cycle <= _MOST_CYCLES:
            raise InvalidPageToken
        return DuePosition(due_time=parse_instant(due), ticket_id=TicketId(ticket_id), kind=Kind(kind), cycle=cycle)
    except (page.InvalidPageToken, ValueError) as error:
        raise InvalidPageToken from error
