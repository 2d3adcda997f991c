"""What the use cases may rely on of a unit of work: all or nothing, one writer of a ticket at a time, events with their change."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError

from chassis.outbox import Outbox
from services.intake.adapters import sql, tables
from services.intake.adapters.events import SOURCE
from services.intake.domain.events import TicketSubmitted, TicketWithdrawn
from services.intake.domain.ticket import Contact
from services.intake.domain.types import Channel, Solved, TicketState
from tests.support.waiting import eventually
from tests.unit.intake.builders import HELPER, HOUR, LEAD, NOW, act, dispatch, rating, ticket

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from services.intake.domain.ticket import Ticket
    from tests.contract.intake.conftest import OpenUnitOfWork

CONTACT = Contact(name="王小明", phone="023-67890000")
WRITTEN = (tables.ticket_table, tables.contact_table, tables.change_table, tables.outbox)


def fresh(**changed: Any) -> Ticket:
    """Return a ticket with its submission among its changes, as the use case makes it."""
    made = ticket(**changed)
    made.version = type(made.version)(0)
    made.submitted()
    return made


def stored(open_unit_of_work: OpenUnitOfWork, **changed: Any) -> Ticket:
    made = fresh(**changed)
    with open_unit_of_work() as uow:
        uow.tickets.add(made, CONTACT)
        uow.tell(TicketSubmitted(made))
        uow.commit()
    return made


def count(admin: Engine, table: Any) -> int:
    with admin.connect() as conn:
        return int(conn.scalar(select(func.count()).select_from(table)) or 0)


def test_a_ticket_comes_back_as_it_was_put(open_unit_of_work: OpenUnitOfWork) -> None:
    put = fresh(confidential=True, text="多行\n文本\t😀'\"\\{}%", channel=Channel.HOTLINE)
    with open_unit_of_work() as uow:
        uow.tickets.add(put, CONTACT)
        uow.commit()

    with open_unit_of_work() as uow:
        got = uow.tickets.get(put.ticket_id)

    assert got == put


def test_a_ticket_that_went_all_the_way_comes_back_as_it_was_put(open_unit_of_work: OpenUnitOfWork) -> None:
    put = stored(open_unit_of_work)
    with open_unit_of_work() as uow:
        put = uow.tickets.get(put.ticket_id)
        put.dispatched(dispatch(helpers=(HELPER, LEAD), at=NOW + HOUR))
        put.deadline("due_time_set", NOW + timedelta(days=4), NOW + HOUR)
        put.resolved(act(note="已办结", at=NOW + 2 * HOUR))
        put.rate(rating(Solved.NO, 1, at=NOW + 3 * HOUR))
        uow.commit()

    with open_unit_of_work() as uow:
        got = uow.tickets.get(put.ticket_id)

    assert got == put
    assert (got.co_handler_units, got.rating, got.version) == ((HELPER, LEAD), rating(Solved.NO, 1, at=NOW + 3 * HOUR), 5)


def test_leaving_without_commit_leaves_nothing(open_unit_of_work: OpenUnitOfWork, admin: Engine) -> None:
    made = fresh()

    with open_unit_of_work() as uow:
        uow.tickets.add(made, CONTACT)
        uow.tell(TicketSubmitted(made))
        uow.flush()

    assert [count(admin, table) for table in WRITTEN] == [0, 0, 0, 0]


def test_a_commit_that_fails_leaves_nothing(open_unit_of_work: OpenUnitOfWork, admin: Engine) -> None:
    known = stored(open_unit_of_work)
    twin = fresh(number=known.number)

    with open_unit_of_work() as uow:
        uow.tickets.add(fresh(), CONTACT)
        uow.tickets.add(twin, CONTACT)
        with pytest.raises(IntegrityError):
            uow.commit()

    assert [count(admin, table) for table in WRITTEN] == [1, 1, 1, 1]


def test_events_are_in_the_outbox_in_the_order_in_which_they_were_told(open_unit_of_work: OpenUnitOfWork, admin: Engine) -> None:
    made = fresh()
    with open_unit_of_work() as uow:
        uow.tickets.add(made, CONTACT)
        uow.tell(TicketSubmitted(made))
        for i in range(5):
            uow.tell(TicketWithdrawn(ticket_id=made.ticket_id, reason=str(i), time=NOW))
        uow.commit()

    with admin.connect() as conn:
        rows = conn.execute(select(tables.outbox).order_by(tables.outbox.c.seq)).all()
    assert [row.type.rpartition(".")[2] for row in rows] == ["TicketSubmitted", *["TicketWithdrawn"] * 5]
    assert [bytes(row.payload).count(f"{i}".encode()) > 0 for i, row in enumerate(rows[1:])] == [True] * 5
    assert {row.aggregateid for row in rows} == {made.ticket_id}


def test_who_watches_is_told_after_a_commit_that_changed_tickets_and_after_no_other(
    open_unit_of_work: OpenUnitOfWork, engine: Engine
) -> None:
    known = stored(open_unit_of_work)
    told: list[TicketState] = []

    def on_change() -> None:
        with open_unit_of_work() as uow:
            told.append(uow.tickets.find(known.ticket_id, None).state)

    def uow() -> sql.IntakeUnitOfWork:
        return sql.IntakeUnitOfWork(engine, Outbox(tables.outbox, source=SOURCE), on_change=on_change)

    with uow() as reading:
        reading.tickets.get(known.ticket_id)
        reading.commit()
    with uow() as given_up:
        given_up.tickets.get(known.ticket_id).withdraw("", NOW)
        given_up.flush()
    with uow() as changing:
        changing.tickets.get(known.ticket_id).withdraw("", NOW)
        changing.commit()

    assert told == [TicketState.WITHDRAWN]


def test_within_a_unit_of_work_a_ticket_is_one_object_however_it_was_got(open_unit_of_work: OpenUnitOfWork) -> None:
    known = stored(open_unit_of_work)

    with open_unit_of_work() as uow:
        got = uow.tickets.get(known.ticket_id)
        uow.tickets.lock_many([known.ticket_id])
        again = uow.tickets.find_for_update(known.number, known.portal)
        once_more = uow.tickets.get(known.ticket_id)
        new = fresh()
        uow.tickets.add(new, CONTACT)

        assert got is again is once_more
        assert uow.tickets.get(new.ticket_id) is new


def test_a_locked_ticket_waits_for_the_other_writer_and_then_shows_what_that_one_wrote(
    open_unit_of_work: OpenUnitOfWork, admin: Engine
) -> None:
    known = stored(open_unit_of_work)
    seen: list[TicketState] = []

    def second() -> None:
        with open_unit_of_work() as uow:
            seen.append(uow.tickets.find_for_update(known.number, known.portal).state)

    with open_unit_of_work() as uow:
        uow.tickets.get(known.ticket_id).withdraw("", NOW)
        waiting = threading.Thread(target=second)
        waiting.start()
        eventually(lambda: _waiters(admin) == 1, "one who waits", within=20)
        uow.commit()
    waiting.join(20)

    assert seen == [TicketState.WITHDRAWN]


def test_reading_without_lock_waits_for_nobody(open_unit_of_work: OpenUnitOfWork) -> None:
    known = stored(open_unit_of_work)

    with open_unit_of_work() as uow, open_unit_of_work() as reader:
        uow.tickets.get(known.ticket_id).withdraw("", NOW)
        uow.flush()

        assert reader.tickets.find(known.ticket_id, known.portal).state is TicketState.SUBMITTED


def test_locking_many_in_any_order_never_deadlocks(open_unit_of_work: OpenUnitOfWork) -> None:
    ids = [stored(open_unit_of_work).ticket_id for _ in range(20)]
    rounds = 15

    def change(order: list[Any]) -> None:
        for _ in range(rounds):
            with open_unit_of_work() as uow:
                uow.tickets.lock_many(order)
                for ticket_id in order:
                    uow.tickets.get(ticket_id).deadline("due_time_near", None, NOW)
                uow.commit()

    threads = [threading.Thread(target=change, args=(order,)) for order in (ids, ids[::-1], ids[10:] + ids[:10], ids[::-2] + ids[::2])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    with open_unit_of_work() as uow:
        assert {uow.tickets.find(ticket_id, None).version for ticket_id in ids} == {1 + rounds * len(threads)}


def test_a_unit_of_work_that_is_not_open_says_so(open_unit_of_work: OpenUnitOfWork) -> None:
    with pytest.raises(RuntimeError, match="not open"):
        _ = open_unit_of_work().connection


def _waiters(admin: Engine) -> int:
    with admin.connect() as conn:
        statement = text(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
        )
        return int(conn.scalar(statement) or 0)
