"""The port `ChangeLog`: what those who watch are given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chassis.caller import Caller, Role
from services.intake.application.ports import Standing
from services.intake.domain.ticket import Contact
from services.intake.domain.types import PortalCode, TicketId, TicketState, Version
from tests.unit.intake.builders import LEAD, NOW, act, dispatch, ticket

if TYPE_CHECKING:
    from services.intake.adapters.sql import SqlChangeLog
    from services.intake.domain.ticket import Ticket
    from tests.contract.intake.conftest import OpenUnitOfWork

PORTAL = Caller(Role.PORTAL, "yukuaiban")


def stored(open_unit_of_work: OpenUnitOfWork, changes: int = 0, **changed: Any) -> Ticket:
    made = ticket(**changed)
    made.version = Version(0)
    made.submitted()
    made.dispatched(dispatch())
    for i in range(changes):
        made.told("progress", act(note=str(i)))
    with open_unit_of_work() as uow:
        uow.tickets.add(made, Contact(name="王小明", phone="023-67890000"))
        uow.commit()
    return made


def test_changes_come_back_whole_and_in_order(open_unit_of_work: OpenUnitOfWork, change_log: SqlChangeLog) -> None:
    made = stored(open_unit_of_work, 1)

    first, second, third = change_log.since({made.ticket_id: Version(0)}, 100)

    assert [each.version for each in (first, second, third)] == [1, 2, 3]
    assert (first.kind, first.unit, first.note, first.state) == ("submitted", None, "", TicketState.SUBMITTED)
    assert (second.kind, second.unit, second.note, second.state) == ("dispatched", LEAD, "按类别派单", TicketState.DISPATCHED)
    assert (third.kind, third.note, third.occur_time, third.ticket_id) == ("progress", "0", NOW, made.ticket_id)


def test_each_ticket_is_read_from_its_own_position(open_unit_of_work: OpenUnitOfWork, change_log: SqlChangeLog) -> None:
    one, other, unwatched = (stored(open_unit_of_work, 3) for _ in range(3))

    found = change_log.since({one.ticket_id: Version(3), other.ticket_id: Version(5)}, 100)

    assert [(each.ticket_id, each.version) for each in found] == [(one.ticket_id, 4), (one.ticket_id, 5)]
    assert unwatched.ticket_id not in {each.ticket_id for each in found}


def test_reading_in_pieces_gives_everything_once(open_unit_of_work: OpenUnitOfWork, change_log: SqlChangeLog) -> None:
    tickets = [stored(open_unit_of_work, 8) for _ in range(4)]
    positions = dict.fromkeys((each.ticket_id for each in tickets), Version(0))

    seen: list[tuple[TicketId, Version]] = []
    while found := change_log.since(positions, 7):
        assert len(found) <= 7
        for each in found:
            assert each.version == positions[each.ticket_id] + 1
            positions[each.ticket_id] = each.version
        seen += [(each.ticket_id, each.version) for each in found]

    assert sorted(seen) == sorted((each.ticket_id, Version(n)) for each in tickets for n in range(1, 11))


def test_what_is_not_committed_is_not_seen(open_unit_of_work: OpenUnitOfWork, change_log: SqlChangeLog) -> None:
    made = stored(open_unit_of_work)

    with open_unit_of_work() as uow:
        uow.tickets.get(made.ticket_id).withdraw("", NOW)
        uow.flush()
        before = change_log.since({made.ticket_id: Version(2)}, 10)
        uow.commit()
    after = change_log.since({made.ticket_id: Version(2)}, 10)

    assert before == []
    assert [each.kind for each in after] == ["withdrawn"]


@pytest.mark.parametrize("by", ["ticket_id", "number"])
@pytest.mark.parametrize("caller", [PORTAL, Caller(Role.DESK, "desk"), Caller(Role.OPERATOR, "op")])
def test_who_may_see_a_ticket_is_told_where_it_stands(
    open_unit_of_work: OpenUnitOfWork, change_log: SqlChangeLog, caller: Caller, by: str
) -> None:
    made = stored(open_unit_of_work)

    assert change_log.standing_of(getattr(made, by), caller) == Standing(made.ticket_id, Version(2), TicketState.DISPATCHED)


def test_another_portals_ticket_is_none(open_unit_of_work: OpenUnitOfWork, change_log: SqlChangeLog) -> None:
    theirs = stored(open_unit_of_work, portal=PortalCode("other"))

    assert change_log.standing_of(theirs.ticket_id, PORTAL) is None
    assert change_log.standing_of(theirs.number, PORTAL) is None
    assert change_log.standing_of("nothing", PORTAL) is None
