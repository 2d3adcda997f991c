"""The port `Tickets`: finding, listing, and what is due for closing."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from services.intake.application.ports import TicketFilter
from services.intake.domain.ticket import Contact, Enterprise
from services.intake.domain.types import DistrictCode, PortalCode, Solved, TicketId, TicketState
from tests.unit.intake.builders import HOUR, NOW, act, dispatch, rating, some_uscc, ticket

if TYPE_CHECKING:
    from services.intake.domain.ticket import Ticket
    from tests.contract.intake.conftest import OpenUnitOfWork

MINE, OTHER = PortalCode("yukuaiban"), PortalCode("other")
CONTACT = Contact(name="王小明", phone="023-67890000")
NOWHERE = TicketId("00000000-0000-7000-8000-000000000000")


def put(open_unit_of_work: OpenUnitOfWork, *tickets: Ticket) -> list[Ticket]:
    with open_unit_of_work() as uow:
        for each in tickets:
            uow.tickets.add(each, CONTACT)
        uow.commit()
    return list(tickets)


def listed(open_unit_of_work: OpenUnitOfWork, size: int = 100, after: Any = None, **wanted: Any) -> list[str]:
    everything = {"portal": None, "uscc": "", "states": (), "create_time_from": None, "create_time_until": None}
    with open_unit_of_work() as uow:
        return [each.ticket_id for each in uow.tickets.page(TicketFilter(**{**everything, **wanted}), after, size)]


@pytest.mark.parametrize("method", ["find", "find_for_update"])
@pytest.mark.parametrize("by", ["ticket_id", "number"])
def test_a_ticket_is_found_by_id_and_by_number_for_its_own_portal_alone(open_unit_of_work: OpenUnitOfWork, method: str, by: str) -> None:
    (mine,) = put(open_unit_of_work, ticket())
    reference = getattr(mine, by)

    with open_unit_of_work() as uow:
        found = getattr(uow.tickets, method)(reference, MINE)
        hidden = getattr(uow.tickets, method)(reference, OTHER)

    assert found == mine
    assert hidden is None


def test_staff_find_every_portals_tickets(open_unit_of_work: OpenUnitOfWork) -> None:
    theirs = put(open_unit_of_work, ticket(portal=MINE), ticket(portal=OTHER))

    with open_unit_of_work() as uow:
        assert [uow.tickets.find(each.ticket_id, None) for each in theirs] == theirs


def test_what_is_not_there_is_none(open_unit_of_work: OpenUnitOfWork) -> None:
    with open_unit_of_work() as uow:
        uow.tickets.lock_many([NOWHERE])

        assert uow.tickets.get(NOWHERE) is None
        assert uow.tickets.find(NOWHERE, None) is None
        assert uow.tickets.find_for_update("20261123-500107-000042-K", MINE) is None


def test_a_page_is_narrowed_to_the_portal_before_anything_else(open_unit_of_work: OpenUnitOfWork) -> None:
    mine, theirs = put(open_unit_of_work, ticket(portal=MINE), ticket(portal=OTHER))

    assert listed(open_unit_of_work, portal=MINE) == [mine.ticket_id]
    assert listed(open_unit_of_work, portal=OTHER, uscc=mine.enterprise.uscc, states=(TicketState.SUBMITTED,)) == [theirs.ticket_id]
    assert listed(open_unit_of_work, portal=PortalCode("nobody")) == []
    assert set(listed(open_unit_of_work)) == {mine.ticket_id, theirs.ticket_id}


def test_pages_are_newest_first_and_tickets_of_one_instant_follow_their_ids(open_unit_of_work: OpenUnitOfWork) -> None:
    same = put(open_unit_of_work, *(ticket(create_time=NOW) for _ in range(5)))
    (older,) = put(open_unit_of_work, ticket(create_time=NOW - HOUR))
    (newer,) = put(open_unit_of_work, ticket(create_time=NOW + timedelta(microseconds=1)))
    expected = [newer.ticket_id, *sorted((each.ticket_id for each in same), reverse=True), older.ticket_id]
    times = {each.ticket_id: each.create_time for each in (*same, older, newer)}

    pages: list[str] = []
    while page := listed(open_unit_of_work, 2, (times[pages[-1]], pages[-1]) if pages else None):
        pages += page

    assert listed(open_unit_of_work) == expected
    assert pages == expected


def test_filters_are_joined_by_and(open_unit_of_work: OpenUnitOfWork) -> None:
    one, other = (Enterprise(uscc=some_uscc(i), name="甲", district=DistrictCode("500107")) for i in (1, 2))
    wanted = ticket(enterprise=one, create_time=NOW)
    withdrawn = ticket(enterprise=one, create_time=NOW)
    withdrawn.withdraw("", NOW)
    put(open_unit_of_work, wanted, withdrawn, ticket(enterprise=other, create_time=NOW), ticket(enterprise=one, create_time=NOW - HOUR))

    found = listed(open_unit_of_work, uscc=one.uscc, states=(TicketState.SUBMITTED,), create_time_from=NOW, create_time_until=NOW + HOUR)

    assert found == [wanted.ticket_id]
    assert listed(open_unit_of_work, create_time_until=NOW - HOUR) == []


def resolved(at: Any, solved: Solved | None = None) -> Ticket:
    made = ticket(create_time=at)
    made.dispatched(dispatch(at=at))
    made.resolved(act(note="已办结", at=at))
    if solved is not None:
        made.rate(rating(solved, at=at))
    return made


def test_what_was_resolved_before_a_time_is_found_oldest_first(open_unit_of_work: OpenUnitOfWork) -> None:
    old, older = put(open_unit_of_work, resolved(NOW - HOUR), resolved(NOW - 2 * HOUR))
    put(open_unit_of_work, resolved(NOW), resolved(NOW + HOUR), ticket(create_time=NOW - HOUR), resolved(NOW - HOUR, Solved.YES))

    with open_unit_of_work() as uow:
        found = uow.tickets.resolved_before(NOW, 10)
        first = uow.tickets.resolved_before(NOW, 1)

    assert [each.ticket_id for each in found] == [older.ticket_id, old.ticket_id]
    assert first == [found[0]]


def test_a_result_that_was_disputed_is_never_found_for_closing(open_unit_of_work: OpenUnitOfWork) -> None:
    put(open_unit_of_work, resolved(NOW - HOUR, Solved.NO))

    with open_unit_of_work() as uow:
        assert uow.tickets.resolved_before(NOW, 10) == []


def test_what_another_replica_closes_just_now_is_left_out(open_unit_of_work: OpenUnitOfWork) -> None:
    tickets = put(open_unit_of_work, *(resolved(NOW - HOUR) for _ in range(4)))

    with open_unit_of_work() as one, open_unit_of_work() as other:
        first = one.tickets.resolved_before(NOW, 2)
        second = other.tickets.resolved_before(NOW, 10)

    assert len(first) == len(second) == 2
    assert {each.ticket_id for each in (*first, *second)} == {each.ticket_id for each in tickets}
