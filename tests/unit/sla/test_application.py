from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from chassis.caller import Caller, Role
from services.sla.application.apply_calendar import ApplyCalendar, activate_calendar, apply_calendar
from services.sla.application.cancel_clocks import CancelClocks, cancel_clocks
from services.sla.application.compute_deadline import ComputeDeadline, compute_deadline
from services.sla.application.extend_clock import ExtendClock, extend_clock
from services.sla.application.finish_clock import FinishClock, finish_clock
from services.sla.application.list_due import ListDue, list_due
from services.sla.application.pause_clock import PauseClock, pause_clock
from services.sla.application.ports import DueFilter
from services.sla.application.read_calendar import ReadCalendar, read_calendar
from services.sla.application.read_deadlines import ReadDeadlines, read_deadlines
from services.sla.application.record_dispatch import RecordDispatch, record_dispatch
from services.sla.application.record_return import RecordReturn, record_return
from services.sla.application.resume_clock import ResumeClock, resume_clock
from services.sla.application.start_clock import StartClock, start_clock
from services.sla.application.tick_due import TickDue, tick_due
from services.sla.domain.calendar import DayKind
from services.sla.domain.clock import Pause
from services.sla.domain.deadline import TicketId
from services.sla.domain.errors import CalendarUnknown, InvalidFields, TicketNotFound
from services.sla.domain.facts import Cycle, Epoch, PortalCode, UnitCode
from services.sla.domain.promise import Kind, Rules
from services.sla.domain.replay import Change, State
from tests.unit.sla.builders import NOTICE_FOR_2027, calendar, rules, shanghai
from tests.unit.sla.fakes import MemoryDeadlineReader, MemoryStore, MemoryUnitOfWork

MONDAY = shanghai("2026-11-23T09:00")
HOUR = timedelta(hours=1)
TICKET, UNIT = TicketId("t-1"), UnitCode("zfcxjw")
RULES = rules()
ANY = DueFilter(unit=None, due_time_from=None, due_time_until=None)


class Desk:
    """Carries out commands one transaction each, as a door does."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.rules = RULES
        self.reader = MemoryDeadlineReader(self.store)

    def do(self, handler: object, *command: object) -> object:
        with MemoryUnitOfWork(self.store, lambda: self.rules) as uow:
            answer = handler(uow, *command)  # type: ignore[operator]
            uow.commit()
        return answer

    def told(self) -> list[tuple[Kind, Change]]:
        return [(each.deadline.kind, each.change) for each in self.store.announced]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def start(desk: Desk, at: datetime = MONDAY) -> None:
    desk.do(start_clock, StartClock(ticket_id=TICKET, cycle=Cycle(0), start_time=at, portal=PortalCode("portal-a")))


def dispatch(desk: Desk, at: datetime = MONDAY, epoch: int = 1, unit: UnitCode = UNIT) -> None:
    desk.do(record_dispatch, RecordDispatch(ticket_id=TICKET, epoch=Epoch(epoch), unit=unit, dispatch_time=at, push_time=at))


def test_a_ticket_goes_through_its_life(desk: Desk) -> None:
    start(desk)
    dispatch(desk)
    desk.do(pause_clock, PauseClock(ticket_id=TICKET, epoch=Epoch(1), request_time=MONDAY + HOUR))
    desk.do(resume_clock, ResumeClock(ticket_id=TICKET, supplement_time=MONDAY + 2 * HOUR))
    desk.do(extend_clock, ExtendClock(ticket_id=TICKET, epoch=Epoch(1), workdays=1, decide_time=MONDAY + 3 * HOUR))
    desk.do(finish_clock, FinishClock(ticket_id=TICKET, epoch=Epoch(1), resolve_time=MONDAY + 4 * HOUR))

    assert desk.told() == [
        (Kind.DISPATCH, Change.SET),
        (Kind.RESOLUTION, Change.SET),
        (Kind.DISPATCH, Change.MET),
        (Kind.RESOLUTION, Change.PAUSED),
        (Kind.RESOLUTION, Change.RESUMED),
        (Kind.RESOLUTION, Change.EXTENDED),
        (Kind.RESOLUTION, Change.MET),
    ]


def test_a_return_takes_the_lead_away(desk: Desk) -> None:
    start(desk)
    dispatch(desk)

    desk.do(record_return, RecordReturn(ticket_id=TICKET, epoch=Epoch(1), return_time=MONDAY + HOUR))

    assert desk.store.tickets[TICKET].facts.lead_unit() == ""


def test_a_withdrawn_ticket_is_cancelled(desk: Desk) -> None:
    start(desk)

    desk.do(cancel_clocks, CancelClocks(ticket_id=TICKET, cancel_time=MONDAY))

    assert desk.told()[2:] == [(Kind.DISPATCH, Change.CANCELLED), (Kind.RESOLUTION, Change.CANCELLED)]


def test_a_tick_says_how_many_tickets_it_looked_at(desk: Desk) -> None:
    start(desk)
    at = MONDAY + timedelta(seconds=45)

    first = desk.do(tick_due, TickDue(known_until=at, now=at, size=10))
    second = desk.do(tick_due, TickDue(known_until=at, now=at, size=10))

    assert (first, second) == (1, 0)
    assert desk.told()[2:] == [(Kind.DISPATCH, Change.AT_RISK)]


def test_a_new_calendar_computes_what_waited_for_it(desk: Desk) -> None:
    start(desk, shanghai("2026-12-29T10:00"))
    desk.do(activate_calendar, MONDAY)
    desk.rules = rules(calendar(NOTICE_FOR_2027, version="with 2027"))
    now = shanghai("2026-12-30T10:00")

    before = desk.do(apply_calendar, ApplyCalendar(now=now, size=10))
    desk.do(activate_calendar, now)
    computed = [desk.do(apply_calendar, ApplyCalendar(now=now, size=10)) for _ in range(2)]

    assert before == 0
    assert computed == [1, 0]
    assert desk.told()[-1] == (Kind.RESOLUTION, Change.SET)
    assert desk.store.announced[-1].event_time == now


def test_a_replica_with_an_old_calendar_does_not_compute_back(desk: Desk) -> None:
    new = rules(calendar(NOTICE_FOR_2027, version="with 2027"))
    desk.rules = new
    start(desk, shanghai("2026-12-29T10:00"))
    desk.do(activate_calendar, MONDAY)
    desk.rules = RULES

    computed = desk.do(apply_calendar, ApplyCalendar(now=MONDAY, size=10))

    assert computed == 0
    assert desk.store.tickets[TICKET].deadlines[1].state is State.RUNNING


def test_deadlines_of_an_unknown_ticket_are_not_found(desk: Desk) -> None:
    with pytest.raises(TicketNotFound) as missing:
        read_deadlines(desk.reader, ReadDeadlines(caller=Caller(Role.DESK, "d"), ticket_id=TICKET))

    assert missing.value.ticket_id == TICKET


def test_anothers_ticket_looks_like_an_unknown_one(desk: Desk) -> None:
    start(desk)

    with pytest.raises(TicketNotFound):
        read_deadlines(desk.reader, ReadDeadlines(caller=Caller(Role.PORTAL, "portal-b"), ticket_id=TICKET))


def test_a_unit_lists_its_own_deadlines_without_naming_itself(desk: Desk) -> None:
    start(desk)
    dispatch(desk)

    found = list_due(desk.reader, ListDue(caller=Caller(Role.UNIT, UNIT), wanted=ANY, after=None, size=10))

    assert [(each.ticket_id, each.kind) for each in found] == [(TICKET, Kind.RESOLUTION)]


def test_a_unit_that_asks_for_anothers_deadlines_is_told_so(desk: Desk) -> None:
    wanted = DueFilter(unit=UnitCode("jtysw"), due_time_from=None, due_time_until=None)

    with pytest.raises(InvalidFields) as invalid:
        list_due(desk.reader, ListDue(caller=Caller(Role.UNIT, UNIT), wanted=wanted, after=None, size=10))

    assert [problem.field for problem in invalid.value.problems] == ["unit"]


def test_the_desk_lists_any_units_deadlines(desk: Desk) -> None:
    start(desk)
    dispatch(desk)
    wanted = DueFilter(unit=UNIT, due_time_from=None, due_time_until=None)

    found = list_due(desk.reader, ListDue(caller=Caller(Role.DESK, "d"), wanted=wanted, after=None, size=10))

    assert len(found) == 1


def test_a_deadline_is_computed_with_the_promised_number_of_workdays_unless_told_otherwise() -> None:
    promised = compute_deadline(RULES, ComputeDeadline(start_time=MONDAY))
    five = compute_deadline(RULES, ComputeDeadline(start_time=MONDAY, workdays=4, extension_workdays=1))

    assert promised == shanghai("2026-11-27T00:00")
    assert five == shanghai("2026-12-01T00:00")


def test_a_computed_deadline_is_absent_while_the_last_pause_lasts() -> None:
    assert compute_deadline(RULES, ComputeDeadline(start_time=MONDAY, pauses=(Pause(MONDAY + HOUR),))) is None


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        (ComputeDeadline(start_time=MONDAY, workdays=-1), ["workdays"]),
        (ComputeDeadline(start_time=MONDAY, workdays=251, extension_workdays=251), ["workdays", "extension_workdays"]),
        (ComputeDeadline(start_time=MONDAY, pauses=(Pause(MONDAY - HOUR, MONDAY),)), ["pauses[0].pause_time"]),
        (ComputeDeadline(start_time=MONDAY, pauses=(Pause(MONDAY + HOUR, MONDAY),)), ["pauses[0].resume_time"]),
        (
            ComputeDeadline(start_time=MONDAY, pauses=(Pause(MONDAY), Pause(MONDAY + HOUR, MONDAY + 2 * HOUR))),
            ["pauses[0].resume_time"],
        ),
        (
            ComputeDeadline(start_time=MONDAY, pauses=(Pause(MONDAY, MONDAY + 2 * HOUR), Pause(MONDAY + HOUR, MONDAY + 3 * HOUR))),
            ["pauses[1].pause_time"],
        ),
        (
            ComputeDeadline(start_time=MONDAY, pauses=tuple(Pause(MONDAY + n * HOUR, MONDAY + n * HOUR) for n in range(101))),
            ["pauses"],
        ),
    ],
)
def test_what_cannot_be_computed_names_the_field_at_fault(query: ComputeDeadline, fields: list[str]) -> None:
    with pytest.raises(InvalidFields) as invalid:
        compute_deadline(RULES, query)

    assert [problem.field for problem in invalid.value.problems] == fields


def test_a_computation_beyond_the_calendar_says_which_year_is_missing() -> None:
    with pytest.raises(CalendarUnknown) as unknown:
        compute_deadline(RULES, ComputeDeadline(start_time=MONDAY, workdays=250))

    assert unknown.value.year == 2027


def test_the_calendar_is_read_as_a_span_whose_end_is_not_part_of_it() -> None:
    days = read_calendar(RULES, ReadCalendar(from_date=date(2026, 2, 13), until_date=date(2026, 2, 16)))

    assert days == [
        (date(2026, 2, 13), DayKind.WORKDAY),
        (date(2026, 2, 14), DayKind.MAKE_UP_WORKDAY),
        (date(2026, 2, 15), DayKind.HOLIDAY),
    ]


@pytest.mark.parametrize("until", [date(2025, 1, 1), date(2024, 12, 31), date(2027, 3, 13)])
def test_an_empty_or_a_too_long_span_of_the_calendar_is_refused(until: date) -> None:
    with pytest.raises(InvalidFields):
        read_calendar(RULES, ReadCalendar(from_date=date(2025, 1, 1), until_date=until))


def test_a_span_of_an_unknown_year_is_never_guessed() -> None:
    with pytest.raises(CalendarUnknown):
        read_calendar(RULES, ReadCalendar(from_date=date(2026, 12, 31), until_date=date(2027, 1, 2)))


def test_rules_name_the_version_of_their_calendar() -> None:
    assert isinstance(RULES, Rules)
    assert RULES.calendar_version == "official"
    assert RULES.dispatch.due(datetime(2026, 1, 1, tzinfo=UTC), (), 0) == datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
