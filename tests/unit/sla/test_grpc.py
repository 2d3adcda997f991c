from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from chassis import gate
from chassis.caller import Caller, Role
from chassis.instant import to_timestamp
from chassis.refusal import RefusalKind
from paidan.sla.v1 import deadline_pb2
from paidan.sla.v1 import sla_service_pb2 as pb
from services.sla.adapters.access import ACCESS
from services.sla.adapters.errors import translate
from services.sla.adapters.grpc import SlaServicer
from services.sla.application.record_dispatch import RecordDispatch, record_dispatch
from services.sla.application.start_clock import StartClock, start_clock
from services.sla.domain.deadline import TicketId
from services.sla.domain.errors import CalendarUnknown, InvalidFields, InvalidPageToken, Problem, TicketNotFound
from services.sla.domain.facts import Cycle, Epoch, PortalCode, UnitCode
from tests.unit.sla.builders import rules, shanghai
from tests.unit.sla.fakes import MemoryDeadlineReader, MemoryStore, MemoryUnitOfWork

if TYPE_CHECKING:
    from collections.abc import Iterator

MONDAY = shanghai("2026-11-23T09:00")
RULES = rules()
UNIT = Caller(Role.UNIT, "zfcxjw")
DESK = Caller(Role.DESK, "desk-1")


class Door:
    """The servicer, as one caller after the other knocks."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.servicer = SlaServicer(MemoryDeadlineReader(self.store), lambda: RULES)

    def ticket(self, name: str, at: datetime = MONDAY) -> None:
        ticket_id, epoch = TicketId(name), Epoch(1)
        with MemoryUnitOfWork(self.store, lambda: RULES) as uow:
            start_clock(uow, StartClock(ticket_id=ticket_id, cycle=Cycle(0), start_time=at, portal=PortalCode("portal-a")))
            given = RecordDispatch(ticket_id=ticket_id, epoch=epoch, unit=UnitCode("zfcxjw"), dispatch_time=at, push_time=at)
            record_dispatch(uow, given)
            uow.commit()


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture(autouse=True)
def desk_calls() -> Iterator[None]:
    token = gate._caller.set(DESK)
    yield
    gate._caller.reset(token)


def test_deadlines_of_a_ticket_are_answered(door: Door) -> None:
    door.ticket("t-1")

    answer = door.servicer.GetDeadlines(pb.GetDeadlinesRequest(ticket_id="t-1"), None)

    assert [each.kind for each in answer.deadlines] == [deadline_pb2.DEADLINE_KIND_DISPATCH, deadline_pb2.DEADLINE_KIND_RESOLUTION]
    assert answer.deadlines[1].due_time == to_timestamp(shanghai("2026-11-27T00:00"))


def test_a_unit_is_answered_about_its_own_tickets_only(door: Door) -> None:
    door.ticket("t-1")
    gate._caller.set(Caller(Role.UNIT, "jtysw"))

    with pytest.raises(TicketNotFound):
        door.servicer.GetDeadlines(pb.GetDeadlinesRequest(ticket_id="t-1"), None)
    assert list(door.servicer.ListDue(pb.ListDueRequest(), None).deadlines) == []


def test_pages_follow_each_other_without_gap_or_repetition(door: Door) -> None:
    for n in range(5):
        door.ticket(f"t-{n}")
    seen, token = [], ""

    for _ in range(3):
        answer = door.servicer.ListDue(pb.ListDueRequest(page_size=2, page_token=token), None)
        seen.append([each.ticket_id for each in answer.deadlines])
        token = answer.next_page_token

    assert seen == [["t-0", "t-1"], ["t-2", "t-3"], ["t-4"]]
    assert token == ""


@pytest.mark.parametrize(
    "request_",
    [
        pb.ListDueRequest(page_size=2, unit="zfcxjw"),
        pb.ListDueRequest(page_size=2, due_time_from=to_timestamp(MONDAY)),
        pb.ListDueRequest(page_size=2, due_time_until=to_timestamp(MONDAY)),
    ],
)
def test_a_token_serves_only_the_list_that_gave_it_out(door: Door, request_: pb.ListDueRequest) -> None:
    for n in range(3):
        door.ticket(f"t-{n}")
    token = door.servicer.ListDue(pb.ListDueRequest(page_size=2), None).next_page_token

    request_.page_token = token
    with pytest.raises(InvalidPageToken):
        door.servicer.ListDue(request_, None)


def test_a_token_of_another_caller_is_refused(door: Door) -> None:
    for n in range(3):
        door.ticket(f"t-{n}")
    token = door.servicer.ListDue(pb.ListDueRequest(page_size=2), None).next_page_token
    gate._caller.set(UNIT)

    with pytest.raises(InvalidPageToken):
        door.servicer.ListDue(pb.ListDueRequest(page_size=2, page_token=token), None)


@pytest.mark.parametrize("token", ["%", "bm90IGEgdG9rZW4"])
def test_a_made_up_token_is_refused(door: Door, token: str) -> None:
    with pytest.raises(InvalidPageToken):
        door.servicer.ListDue(pb.ListDueRequest(page_token=token), None)


def test_a_window_selects_by_due_time(door: Door) -> None:
    door.ticket("t-1")
    due = shanghai("2026-11-27T00:00")

    def listed(first: datetime, until: datetime) -> int:
        request = pb.ListDueRequest(due_time_from=to_timestamp(first), due_time_until=to_timestamp(until))
        return len(door.servicer.ListDue(request, None).deadlines)

    assert listed(due, due + timedelta(seconds=1)) == 1
    assert listed(due - timedelta(days=1), due) == 0


def test_a_due_time_is_computed_with_pauses_and_the_version_of_the_calendar(door: Door) -> None:
    request = pb.ComputeDeadlineRequest(
        start_time=to_timestamp(shanghai("2026-03-10T10:00")),
        pauses=[
            pb.Pause(
                pause_time=to_timestamp(shanghai("2026-03-13T11:00")),
                resume_time=to_timestamp(shanghai("2026-03-14T10:00")),
            ),
        ],
    )

    answer = door.servicer.ComputeDeadline(request, None)

    assert answer.due_time == to_timestamp(shanghai("2026-03-17T00:00"))
    assert answer.calendar_version == "official"


def test_a_due_time_is_absent_while_a_pause_lasts(door: Door) -> None:
    request = pb.ComputeDeadlineRequest(start_time=to_timestamp(MONDAY), pauses=[pb.Pause(pause_time=to_timestamp(MONDAY))])

    assert not door.servicer.ComputeDeadline(request, None).HasField("due_time")


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.ComputeDeadlineRequest(), "start_time"),
        (pb.ComputeDeadlineRequest(start_time=to_timestamp(datetime(1991, 12, 31, tzinfo=UTC))), "start_time"),
        (pb.ComputeDeadlineRequest(start_time=to_timestamp(datetime(9999, 12, 31, tzinfo=UTC))), "start_time"),
        (pb.ComputeDeadlineRequest(start_time=to_timestamp(MONDAY), workdays=251), "workdays"),
        (pb.ComputeDeadlineRequest(start_time=to_timestamp(MONDAY), pauses=[pb.Pause()]), "pauses[0].pause_time"),
    ],
)
def test_what_cannot_be_computed_names_its_field(door: Door, request_: pb.ComputeDeadlineRequest, field: str) -> None:
    with pytest.raises(InvalidFields) as invalid:
        door.servicer.ComputeDeadline(request_, None)

    assert [problem.field for problem in invalid.value.problems] == [field]


def test_a_timestamp_beyond_all_calendars_is_refused(door: Door) -> None:
    request = pb.ComputeDeadlineRequest()
    request.start_time.seconds = 10**15

    with pytest.raises(InvalidFields):
        door.servicer.ComputeDeadline(request, None)


def test_the_calendar_is_answered_day_by_day(door: Door) -> None:
    answer = door.servicer.GetCalendar(pb.GetCalendarRequest(from_date="2026-02-13", until_date="2026-02-16"), None)

    assert [(day.date, day.kind) for day in answer.days] == [
        ("2026-02-13", pb.DAY_KIND_WORKDAY),
        ("2026-02-14", pb.DAY_KIND_MAKE_UP_WORKDAY),
        ("2026-02-15", pb.DAY_KIND_HOLIDAY),
    ]
    assert answer.calendar_version == "official"


@pytest.mark.parametrize(
    ("first", "until", "field"),
    [
        ("", "2026-02-16", "from_date"),
        ("2026-02-30", "2026-02-16", "from_date"),
        ("2026-02-13", "16.2.2026", "until_date"),
        ("1000-01-01", "2026-02-16", "from_date"),
        ("2026-02-13", "9999-12-31", "until_date"),
        ("2026-02-13", "2026-02-13", "until_date"),
    ],
)
def test_a_span_that_is_none_names_its_field(door: Door, first: str, until: str, field: str) -> None:
    with pytest.raises(InvalidFields) as invalid:
        door.servicer.GetCalendar(pb.GetCalendarRequest(from_date=first, until_date=until), None)

    assert [problem.field for problem in invalid.value.problems] == [field]


def test_a_negative_page_size_is_refused(door: Door) -> None:
    with pytest.raises(InvalidFields) as invalid:
        door.servicer.ListDue(pb.ListDueRequest(page_size=-1), None)

    assert invalid.value.problems[0].field == "page_size"


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (InvalidFields([Problem("workdays", "is 0")]), RefusalKind.INVALID, "INVALID_FIELD"),
        (TicketNotFound("t-1"), RefusalKind.NOT_FOUND, "TICKET_NOT_FOUND"),
        (CalendarUnknown(2027), RefusalKind.CONFLICT, "CALENDAR_UNKNOWN"),
        (InvalidPageToken(), RefusalKind.INVALID, "INVALID_PAGE_TOKEN"),
    ],
)
def test_every_error_has_a_refusal_with_a_reason_of_the_contract(error: Exception, kind: RefusalKind, reason: str) -> None:
    refusal = translate(error)

    assert refusal is not None
    assert (refusal.kind, refusal.reason) == (kind, reason)
    assert pb.ErrorReason.Value(f"ERROR_REASON_{reason}") > 0


def test_a_refusal_names_fields_and_facts() -> None:
    fields = translate(InvalidFields([Problem("workdays", "is 0"), Problem("pauses", "are 101")]))
    unknown = translate(CalendarUnknown(2027))

    assert fields is not None
    assert [violation.field for violation in fields.violations] == ["workdays", "pauses"]
    assert unknown is not None
    assert unknown.metadata == {"year": "2027"}


def test_an_error_of_others_is_not_ours_to_translate() -> None:
    assert translate(ValueError()) is None


def test_every_method_of_the_contract_has_its_roles() -> None:
    methods = {method.name for method in pb.DESCRIPTOR.services_by_name["SlaService"].methods}

    assert set(ACCESS) == methods
    assert Role.PORTAL not in ACCESS["ListDue"]
    assert all(ACCESS[method] == frozenset(Role) for method in methods - {"ListDue"})
