from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from chassis.caller import Caller, Role
from services.sla.application.ports import DueFilter, DuePosition
from services.sla.domain.calendar import CalendarVersion
from services.sla.domain.deadline import Deadline, TicketId
from services.sla.domain.facts import Cycle, Epoch, PortalCode, UnitCode
from services.sla.domain.promise import Kind
from services.sla.domain.replay import State
from tests.unit.sla.builders import NOTICE_FOR_2027, calendar, rules, shanghai

if TYPE_CHECKING:
    from datetime import datetime

    from tests.contract.sla.conftest import Stores

MONDAY = shanghai("2026-11-23T09:00")
DESK = Caller(Role.DESK, "desk-1")
ANY = DueFilter(unit=None, due_time_from=None, due_time_until=None)


def submit(
    stores: Stores,
    name: str,
    at: datetime = MONDAY,
    *,
    portal: str = "portal-a",
    lead: str = "",
) -> TicketId:
    """Store a submitted ticket, at once dispatched if it has a lead."""
    ticket_id = TicketId(name)
    with stores.open() as uow:
        ticket = uow.tickets.get(ticket_id)
        ticket.started(Cycle(0), at, portal=PortalCode(portal))
        if lead:
            ticket.dispatched(Epoch(1), UnitCode(lead), at, at)
        uow.announce(ticket.settle(uow.rules, at))
        uow.tickets.put(ticket)
        uow.commit()
    return ticket_id


def test_a_ticket_that_is_not_known_is_made(stores: Stores) -> None:
    with stores.open() as uow:
        ticket = uow.tickets.get(TicketId("t-1"))

        assert ticket.deadlines == []
        assert ticket.facts.starts == {}


def test_what_is_not_committed_is_forgotten(stores: Stores) -> None:
    with stores.open() as uow:
        ticket = uow.tickets.get(TicketId("t-1"))
        ticket.started(Cycle(0), MONDAY)
        ticket.settle(uow.rules, MONDAY)
        uow.tickets.put(ticket)

    with stores.open() as uow:
        assert uow.tickets.get(TicketId("t-1")).deadlines == []


def test_every_fact_and_every_deadline_comes_back_as_it_was(stores: Stores) -> None:
    with stores.open() as uow:
        ticket = uow.tickets.get(TicketId("t-1"))
        ticket.started(Cycle(0), MONDAY, portal=PortalCode("portal-a"))
        ticket.dispatched(Epoch(1), UnitCode("zfcxjw"), MONDAY + timedelta(microseconds=1), MONDAY + timedelta(microseconds=2))
        ticket.returned(Epoch(1), MONDAY + timedelta(hours=1))
        ticket.dispatched(Epoch(2), UnitCode("jtysw"), MONDAY + timedelta(hours=2), MONDAY + timedelta(hours=2))
        ticket.asked(Epoch(2), MONDAY + timedelta(hours=3))
        ticket.answered(MONDAY + timedelta(hours=4))
        ticket.granted(Epoch(2), 2, MONDAY + timedelta(hours=5))
        ticket.resolved(Epoch(2), MONDAY + timedelta(hours=6))
        ticket.started(Cycle(1), MONDAY + timedelta(hours=7))
        ticket.cancelled(MONDAY + timedelta(hours=8))
        ticket.settle(uow.rules, MONDAY)
        uow.tickets.put(ticket)
        uow.commit()

    with stores.open() as uow:
        found = uow.tickets.get(TicketId("t-1"))

        assert found.facts == ticket.facts
        assert found.deadlines == ticket.deadlines
        assert len(found.deadlines) == 4


def test_all_times_of_a_deadline_come_back(stores: Stores) -> None:
    submit(stores, "t-1", lead="zfcxjw")
    for at in (shanghai("2026-11-26T09:00"), shanghai("2026-11-27T00:01")):
        with stores.open() as uow:
            for ticket in uow.tickets.lock_due(at, 10):
                ticket.tick(uow.rules, known_until=at, now=at)
                uow.tickets.put(ticket)
            uow.commit()

    found = stores.reader.of_ticket(TicketId("t-1"), DESK)

    assert found[1] == Deadline(
        ticket_id=TicketId("t-1"),
        kind=Kind.RESOLUTION,
        cycle=Cycle(0),
        state=State.BREACHED,
        start_time=MONDAY,
        due_time=shanghai("2026-11-27T00:00"),
        original_due_time=shanghai("2026-11-27T00:00"),
        at_risk_time=shanghai("2026-11-26T09:00"),
        at_risk_due_time=shanghai("2026-11-27T00:00"),
        breach_time=shanghai("2026-11-27T00:00"),
        unit=UnitCode("zfcxjw"),
        announced=frozenset({"set"}),
    )


def test_tickets_whose_time_has_come_are_found_earliest_first_and_not_more_than_wanted(stores: Stores) -> None:
    for seconds in (3, 1, 2, 300):
        submit(stores, f"t-{seconds}", MONDAY + timedelta(seconds=seconds))

    with stores.open() as uow:
        found = uow.tickets.lock_due(MONDAY + timedelta(seconds=48), 2)

        assert [ticket.ticket_id for ticket in found] == ["t-1", "t-2"]


def test_a_ticket_that_was_looked_at_is_not_found_again(stores: Stores) -> None:
    submit(stores, "t-1")
    at = MONDAY + timedelta(seconds=45)
    with stores.open() as uow:
        [ticket] = uow.tickets.lock_due(at, 10)
        ticket.tick(uow.rules, known_until=at, now=at)
        uow.tickets.put(ticket)
        uow.commit()

    with stores.open() as uow:
        assert list(uow.tickets.lock_due(at, 10)) == []


def test_open_tickets_that_another_calendar_computed_are_found(stores: Stores) -> None:
    submit(stores, "t-open", lead="zfcxjw")
    submit(stores, "t-waiting", shanghai("2026-12-30T09:00"))
    with stores.open() as uow:
        done = uow.tickets.get(submit(stores, "t-done", lead="zfcxjw"))
        done.resolved(Epoch(1), MONDAY)
        done.settle(uow.rules, MONDAY)
        uow.tickets.put(done)
        uow.commit()
    newer = rules(calendar(NOTICE_FOR_2027, version="with 2027"))

    with stores.open() as uow:
        by_the_same = uow.tickets.lock_computed_otherwise(stores.rules.calendar_version, 10)
        by_another = uow.tickets.lock_computed_otherwise(newer.calendar_version, 10)

        assert list(by_the_same) == []
        assert sorted(ticket.ticket_id for ticket in by_another) == ["t-open", "t-waiting"]


def test_the_calendar_that_was_put_in_force_last_is_the_active_one(stores: Stores) -> None:
    old, new = CalendarVersion("old"), CalendarVersion("new")
    seen = []

    for version, hours in ((old, 0), (new, 1), (old, 2)):
        with stores.open() as uow:
            seen.append(uow.calendars.active())
            uow.calendars.activate(version, MONDAY + timedelta(hours=hours))
            seen.append(uow.calendars.active())
            uow.commit()

    assert seen == [None, old, old, new, new, old]


@pytest.mark.parametrize(
    ("caller", "sees"),
    [
        (Caller(Role.PORTAL, "portal-a"), True),
        (Caller(Role.PORTAL, "portal-b"), False),
        (Caller(Role.PORTAL, "zfcxjw"), False),
        (Caller(Role.UNIT, "zfcxjw"), True),
        (Caller(Role.UNIT, "jtysw"), False),
        (Caller(Role.UNIT, "portal-a"), False),
        (Caller(Role.UNIT, ""), False),
        (DESK, True),
        (Caller(Role.OPERATOR, "op"), True),
    ],
)
def test_nobody_sees_anothers_tickets(stores: Stores, caller: Caller, sees: bool) -> None:
    ticket_id = submit(stores, "t-1", portal="portal-a", lead="zfcxjw")

    assert bool(stores.reader.of_ticket(ticket_id, caller)) is sees
    assert bool(stores.reader.due(ANY, caller, None, 10)) is sees


def test_a_ticket_that_nobody_leads_is_no_units(stores: Stores) -> None:
    ticket_id = submit(stores, "t-1")

    assert stores.reader.of_ticket(ticket_id, Caller(Role.UNIT, "")) == []
    assert stores.reader.due(ANY, Caller(Role.UNIT, ""), None, 10) == []


def test_a_unit_that_sent_the_ticket_back_does_not_see_it_any_more(stores: Stores) -> None:
    ticket_id = submit(stores, "t-1", lead="zfcxjw")
    with stores.open() as uow:
        ticket = uow.tickets.get(ticket_id)
        ticket.returned(Epoch(1), MONDAY + timedelta(hours=1))
        ticket.settle(uow.rules, MONDAY + timedelta(hours=1))
        uow.tickets.put(ticket)
        uow.commit()

    assert stores.reader.of_ticket(ticket_id, Caller(Role.UNIT, "zfcxjw")) == []
    assert stores.reader.due(ANY, Caller(Role.UNIT, "zfcxjw"), None, 10) == []


def test_deadlines_of_a_ticket_are_read_in_the_order_of_the_contract(stores: Stores) -> None:
    ticket_id = submit(stores, "t-1", lead="zfcxjw")
    with stores.open() as uow:
        ticket = uow.tickets.get(ticket_id)
        ticket.resolved(Epoch(1), MONDAY + timedelta(hours=1))
        ticket.started(Cycle(1), MONDAY + timedelta(hours=2))
        ticket.settle(uow.rules, MONDAY)
        uow.tickets.put(ticket)
        uow.commit()

    found = stores.reader.of_ticket(ticket_id, DESK)

    assert [(each.cycle, each.kind) for each in found] == [
        (0, Kind.DISPATCH),
        (0, Kind.RESOLUTION),
        (1, Kind.DISPATCH),
        (1, Kind.RESOLUTION),
    ]


def test_what_is_due_is_listed_earliest_first_page_by_page_without_gap_or_repetition(stores: Stores) -> None:
    for name, day in (("t-c", 24), ("t-a", 24), ("t-b", 23), ("t-d", 25)):
        submit(stores, name, shanghai(f"2026-11-{day}T09:00"), lead="zfcxjw")

    pages, after = [], None
    while page := stores.reader.due(ANY, DESK, after, 3):
        pages.append([each.ticket_id for each in page])
        last = page[-1]
        assert last.due_time is not None
        after = DuePosition(due_time=last.due_time, ticket_id=last.ticket_id, kind=last.kind, cycle=last.cycle)

    assert pages == [["t-b", "t-a", "t-c"], ["t-d"]]


def test_what_is_due_is_listed_within_a_window_whose_end_is_not_part_of_it(stores: Stores) -> None:
    for day in (23, 24, 25):
        submit(stores, f"t-{day}", shanghai(f"2026-11-{day}T09:00"), lead="zfcxjw")
    window = DueFilter(unit=None, due_time_from=shanghai("2026-11-28T00:00"), due_time_until=shanghai("2026-12-01T00:00"))

    found = stores.reader.due(window, DESK, None, 10)

    assert [each.ticket_id for each in found] == ["t-24"]


def test_what_is_due_is_listed_of_one_unit_and_only_while_the_clock_runs(stores: Stores) -> None:
    submit(stores, "t-1", lead="zfcxjw")
    submit(stores, "t-2", lead="jtysw")
    with stores.open() as uow:
        paused = uow.tickets.get(submit(stores, "t-3", lead="zfcxjw"))
        paused.asked(Epoch(1), MONDAY + timedelta(hours=1))
        paused.settle(uow.rules, MONDAY + timedelta(hours=1))
        uow.tickets.put(paused)
        uow.commit()
    of_unit = DueFilter(unit=UnitCode("zfcxjw"), due_time_from=None, due_time_until=None)

    found = stores.reader.due(of_unit, DESK, None, 10)

    assert [(each.ticket_id, each.kind) for each in found] == [("t-1", Kind.RESOLUTION)]
