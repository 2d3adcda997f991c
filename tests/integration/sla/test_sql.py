from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select, text
from structlog.testing import capture_logs

from paidan.sla.v1 import deadline_pb2
from paidan.sla.v1 import events_pb2 as sla
from services.sla.adapters import sql, tables
from services.sla.adapters.kafka import handle_messages
from services.sla.application.tick_due import TickDue, tick_due
from services.sla.domain.deadline import Tally, TicketId
from services.sla.domain.promise import Kind
from tests.unit.sla.builders import NOTICE_FOR_2027, calendar, rules, shanghai
from tests.unit.sla.messages import (
    dispatched,
    received,
    resolved,
    submitted,
    supplement_requested,
    supplemented,
    withdrawn,
)

if TYPE_CHECKING:
    from datetime import datetime

    from google.protobuf.message import Message

    from tests.integration.sla.conftest import Database

MONDAY = shanghai("2026-11-23T09:00")
LATER = shanghai("2026-12-24T09:00")


def take_in(database: Database, *told: tuple[Message, datetime]) -> None:
    """Handle messages as one batch, their records written at the given times."""
    with database.open() as uow:
        handle_messages(uow, [received(payload, at) for payload, at in told])
        uow.commit()


def tick(database: Database, at: datetime, size: int = 500) -> int:
    with database.open() as uow:
        looked_at = tick_due(uow, TickDue(known_until=at, now=at, size=size))
        uow.commit()
    return looked_at


def told(database: Database, ticket_id: str | None = None) -> list[str]:
    """Return what lies in the outbox, in its order: kind of the deadline and of the change."""
    with database.engine.connect() as conn:
        rows = conn.execute(select(tables.outbox).order_by(tables.outbox.c.seq)).all()
    names = []
    for row in rows:
        if ticket_id in {None, row.aggregateid}:
            change = row.type.rpartition(".")[2]
            event: Any = getattr(sla, change).FromString(row.payload)
            kind = deadline_pb2.DeadlineKind.Name(event.deadline.kind).removeprefix("DEADLINE_KIND_")
            names.append(f"{kind} {change.removeprefix('Deadline')}")
    return names


def tallies(database: Database) -> dict[tuple[Kind, Tally], int]:
    return {key: count for key, count in sql.SqlDeadlineReader(database.engine).tallies().items() if count}


def test_the_migration_makes_what_the_tables_say(database: Database) -> None:
    with database.owner.connect() as conn:
        context = MigrationContext.configure(
            conn,
            opts={
                "include_schemas": True,
                "include_name": lambda name, kind, _parents: kind != "schema" or name == tables.SCHEMA,
                "include_object": lambda _object, name, *_: name != "alembic_version",
                "compare_type": True,
            },
        )

        assert compare_metadata(context, tables.metadata) == []


def test_a_batch_is_taken_in_and_announced_in_order(database: Database) -> None:
    take_in(
        database,
        (submitted("t-1", MONDAY), MONDAY),
        (submitted("t-2", MONDAY), MONDAY),
        (dispatched("t-1", MONDAY + timedelta(seconds=1)), MONDAY + timedelta(seconds=2)),
        (withdrawn("t-2", MONDAY + timedelta(seconds=3)), MONDAY + timedelta(seconds=3)),
    )

    assert told(database, "t-1") == ["DISPATCH Set", "RESOLUTION Set", "DISPATCH Met"]
    assert told(database, "t-2") == ["DISPATCH Set", "RESOLUTION Set", "DISPATCH Cancelled", "RESOLUTION Cancelled"]


def test_what_is_announced_carries_on_the_trace_of_its_cause(database: Database) -> None:
    message = received(submitted("t-1", MONDAY), MONDAY)
    with database.open() as uow:
        handle_messages(uow, [message])
        uow.commit()

    with database.engine.connect() as conn:
        headers = dict(conn.execute(select(tables.outbox.c.headers)).scalars().first() or [])

    assert message.traceparent is not None
    assert headers["traceparent"].split("-")[1] == message.traceparent.split("-")[1]
    assert headers["ce_subject"] == "t-1"
    assert headers["ce_source"] == "/paidan/sla"


def test_a_tick_announces_once_over_any_number_of_ticks(database: Database) -> None:
    take_in(database, (submitted("t-1", MONDAY), MONDAY))

    looked_at = [tick(database, at) for at in (MONDAY, MONDAY + timedelta(seconds=46), LATER, LATER, LATER)]

    assert looked_at == [0, 1, 1, 0, 0]
    assert told(database) == [
        "DISPATCH Set",
        "RESOLUTION Set",
        "DISPATCH AtRisk",
        "DISPATCH Breached",
        "RESOLUTION Breached",
    ]


def test_two_ticks_at_once_share_the_work_and_neither_waits(database: Database) -> None:
    take_in(database, *((submitted(f"t-{n}", MONDAY), MONDAY) for n in range(10)))

    with database.open() as first, database.open() as second:
        ours = first.tickets.lock_due(LATER, 6)
        theirs = second.tickets.lock_due(LATER, 6)

        assert len(ours) == 6
        assert len(theirs) == 4
        assert not {each.ticket_id for each in ours} & {each.ticket_id for each in theirs}


def test_a_midnight_with_many_due_is_announced_in_batches_each_deadline_once(database: Database) -> None:
    take_in(database, *((submitted(f"t-{n:03}", MONDAY), MONDAY) for n in range(250)))

    with ThreadPoolExecutor(2) as replicas:
        rounds = list(replicas.map(lambda _: tick(database, LATER, size=40), range(12)))

    assert sum(rounds) == 250
    assert sorted(told(database)) == sorted(["DISPATCH Set", "RESOLUTION Set", "DISPATCH Breached", "RESOLUTION Breached"] * 250)
    assert tallies(database) == {(Kind.DISPATCH, Tally.OVERDUE): 250, (Kind.RESOLUTION, Tally.OVERDUE): 250}


def test_two_replicas_that_hear_of_a_new_ticket_at_once_lose_nothing(database: Database) -> None:
    both_are_in = threading.Barrier(2, timeout=10)

    def hear(payload: Message) -> None:
        with database.open() as uow:
            both_are_in.wait()
            handle_messages(uow, [received(payload, MONDAY + timedelta(seconds=1))])
            uow.commit()

    for n in range(5):
        with ThreadPoolExecutor(2) as replicas:
            list(replicas.map(hear, [submitted(f"t-{n}", MONDAY), dispatched(f"t-{n}", MONDAY + timedelta(seconds=1))]))

        assert sorted(told(database, f"t-{n}")) == ["DISPATCH Met", "DISPATCH Set", "RESOLUTION Set"]


def test_opposite_orders_of_the_same_tickets_do_not_deadlock(database: Database) -> None:
    names = [f"t-{n}" for n in range(20)]
    both_are_in = threading.Barrier(2, timeout=10)

    def hear(order: list[str]) -> None:
        with database.open() as uow:
            both_are_in.wait()
            handle_messages(uow, [received(submitted(name, MONDAY), MONDAY) for name in order])
            uow.commit()

    with ThreadPoolExecutor(2) as replicas:
        list(replicas.map(hear, [names, names[::-1]]))

    assert len(told(database)) == 40


def test_tallies_follow_every_change_and_end_at_nothing(database: Database) -> None:
    seen = []

    for payload, at in (
        (submitted("t-1", MONDAY), MONDAY),
        (dispatched("t-1", MONDAY), MONDAY + timedelta(seconds=1)),
        (supplement_requested("t-1", MONDAY + timedelta(hours=1)), MONDAY + timedelta(hours=1)),
        (supplemented("t-1", MONDAY + timedelta(hours=2)), MONDAY + timedelta(hours=2)),
    ):
        take_in(database, (payload, at))
        seen.append(tallies(database))
    tick(database, LATER)
    seen.append(tallies(database))
    take_in(database, (resolved("t-1", LATER), LATER))

    running = (Kind.RESOLUTION, Tally.RUNNING)
    assert seen == [
        {(Kind.DISPATCH, Tally.RUNNING): 1, running: 1},
        {running: 1},
        {(Kind.RESOLUTION, Tally.PAUSED): 1},
        {running: 1},
        {(Kind.RESOLUTION, Tally.OVERDUE): 1},
    ]
    assert tallies(database) == {}


def test_metrics_count_what_was_committed(database: Database) -> None:
    with database.open() as uow:
        handle_messages(uow, [received(submitted("t-lost", MONDAY), MONDAY)])
    take_in(database, (submitted("t-1", MONDAY), MONDAY), (dispatched("t-1", MONDAY), MONDAY + timedelta(seconds=59)))
    tick(database, LATER)

    def value(name: str, **labels: str) -> float | None:
        return database.registry.get_sample_value(name, labels)

    assert value("paidan_sla_deadlines_total", kind="dispatch", outcome="met") == 1
    assert value("paidan_sla_deadlines_total", kind="resolution", outcome="breached") == 1
    assert value("paidan_sla_announcements_total", kind="dispatch", change="set") == 1
    assert value("paidan_sla_dispatch_seconds_bucket", le="50.0") == 0
    assert value("paidan_sla_dispatch_seconds_bucket", le="60.0") == 1


def test_a_clock_that_no_calendar_can_count_is_kept_told_of_aloud_and_set_when_one_can(database: Database) -> None:
    start = shanghai("2026-12-29T10:00")

    with capture_logs() as logs:
        take_in(database, (submitted("t-1", start), start), (dispatched("t-1", start), start + timedelta(seconds=1)))
    waiting = tallies(database)
    with database.engine.connect() as conn:
        due = conn.scalar(select(tables.deadline_table.c.due_time).where(tables.deadline_table.c.kind == "resolution"))
    database.rules = rules(calendar(NOTICE_FOR_2027, version="with 2027"))
    with database.open() as uow:
        [ticket] = uow.tickets.lock_computed_otherwise(database.rules.calendar_version, 10)
        uow.announce(ticket.settle(uow.rules, start))
        uow.tickets.put(ticket)
        uow.commit()

    assert [(each["event"], each["log_level"], each["tickets"]) for each in logs] == [("calendar_unknown", "error", 1)]
    assert waiting == {(Kind.RESOLUTION, Tally.PENDING_CALENDAR): 1}
    assert due is None
    assert told(database) == ["DISPATCH Set", "DISPATCH Met", "RESOLUTION Set"]
    assert tallies(database) == {(Kind.RESOLUTION, Tally.RUNNING): 1}


def test_a_tick_reads_by_the_index_and_not_the_whole_table(database: Database) -> None:
    with database.owner.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO sla.ticket_clock (ticket_id, facts, check_time, calendar_version, is_open) "
                "SELECT 't-' || n, '{}', TIMESTAMPTZ '2026-12-01' + n * INTERVAL '1 second', 'v', true FROM generate_series(1, 20000) AS n"
            )
        )
        conn.execute(text("ANALYZE sla.ticket_clock"))
        plan = "\n".join(
            conn.execute(
                text(
                    "EXPLAIN SELECT * FROM sla.ticket_clock WHERE check_time <= '2026-12-01 00:00:05+00' "
                    "ORDER BY check_time LIMIT 500 FOR UPDATE SKIP LOCKED"
                )
            ).scalars()
        )

    assert "ticket_clock_check" in plan
    assert "Seq Scan" not in plan


@pytest.mark.parametrize("table", ["sla.ticket_clock", "sla.deadline"])
def test_the_service_may_not_change_the_schema(database: Database, table: str) -> None:
    with database.engine.connect() as conn, pytest.raises(Exception, match="must be owner"):
        conn.execute(text(f"DROP TABLE {table}"))


def test_a_ticket_got_alone_is_locked_too(database: Database) -> None:
    take_in(database, (submitted("t-1", MONDAY), MONDAY))

    with database.open() as ours, database.open() as theirs:
        ours.tickets.get(TicketId("t-1"))

        assert list(theirs.tickets.lock_due(LATER, 10)) == []
