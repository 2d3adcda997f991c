"""A reopening starts a new cycle: no message of the previous cycle reaches the unit, and a new unit gets all supplements."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from paidan.sla.v1 import events_pb2 as sla
from services.dispatcher.domain.values import State
from tests.integration.dispatcher.harness import (
    accepting,
    again,
    classified,
    deadline,
    new_ticket,
    reopened,
    resolving,
    submitted,
    supplemented,
)
from tests.unit.dispatcher.builders import INDUSTRY, NOON, YUZHONG

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from services.dispatcher.domain.values import TicketId
    from tests.integration.dispatcher.harness import FakeRecord, Harness

OLD, NEW = NOON + timedelta(days=3), NOON + timedelta(days=9)
OLD_NEWS = (
    sla.DeadlineSet,
    sla.DeadlinePaused,
    sla.DeadlineResumed,
    sla.DeadlineExtended,
    sla.DeadlineAtRisk,
    sla.DeadlineBreached,
    sla.DeadlineCancelled,
)


@pytest.fixture
def resolved(harness: Harness, ticket_id: TicketId) -> TicketId:
    """A ticket that was resolved with a due time and a supplement."""
    harness.feed(submitted(ticket_id), classified(ticket_id), deadline(ticket_id, due=OLD))
    harness.feed(accepting(INDUSTRY, ticket_id), supplemented(ticket_id, "户号 123"), resolving(INDUSTRY, ticket_id))
    harness.sent(ticket_id)
    return ticket_id


def notices(harness: Harness, ticket_id: TicketId) -> list[tuple[str, str]]:
    return [
        (each.body.deadline.kind, each.body.deadline.due_time.ToJsonString())
        for each in harness.sent(ticket_id)
        if each.kind.endswith(":deadline")
    ]


def test_the_order_after_a_reopening_comes_without_the_old_due_time(harness: Harness, resolved: TicketId) -> None:
    harness.feed(reopened(resolved))

    assert harness.kinds(resolved) == [f"{INDUSTRY}:order", f"{YUZHONG}:order", "TicketDispatched"]
    assert harness.seen(resolved).dispatch.due_time is None


@pytest.mark.parametrize("event", OLD_NEWS, ids=lambda event: event.DESCRIPTOR.name)
def test_late_news_of_the_finished_clock_change_nothing_and_reach_nobody(
    harness: Harness, resolved: TicketId, event: Callable[..., Message]
) -> None:
    harness.feed(reopened(resolved))
    harness.sent(resolved)

    harness.feed(deadline(resolved, event, due=OLD))
    harness.feed(deadline(resolved, due=NEW, cycle=1), deadline(resolved, event, due=OLD))

    assert notices(harness, resolved) == [("SET", "2026-12-02T04:00:00Z")]
    assert harness.seen(resolved).dispatch.due_time == NEW


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_reopening_and_both_clocks_come_to_the_same_in_any_order(harness: Harness, resolved: TicketId, order: tuple[int, ...]) -> None:
    news: list[FakeRecord] = [
        reopened(resolved),
        deadline(resolved, due=NEW, cycle=1),
        deadline(resolved, sla.DeadlineAtRisk, due=OLD),
    ]

    for number in order:
        harness.feed(news[number])

    assert notices(harness, resolved) == [("SET", "2026-12-02T04:00:00Z")]
    assert harness.seen(resolved).dispatch.due_time == NEW
    assert harness.rows("SELECT early FROM dispatcher.dispatch WHERE ticket_id = :id", id=resolved) == [([],)]


def test_a_second_reopening_names_no_due_time_either(harness: Harness, resolved: TicketId) -> None:
    harness.feed(reopened(resolved), resolving(INDUSTRY, resolved, 2), reopened(resolved, 2))

    assert notices(harness, resolved) == []
    assert harness.seen(resolved).dispatch.cycle == 2


def test_a_reopening_that_is_redriven_later_opens_nothing_again(harness: Harness, resolved: TicketId) -> None:
    first = reopened(resolved)
    harness.feed(first, resolving(INDUSTRY, resolved, 2))
    harness.sent(resolved)
    redriven = again(first)
    redriven.headers = [(name, b"another" if name == "ce_id" else value) for name, value in first.headers]

    harness.feed(redriven)

    assert harness.sent(resolved) == []
    assert harness.seen(resolved).dispatch.state is State.RESOLVED


def test_a_ticket_that_the_release_before_reopened_takes_its_clock(harness: Harness, resolved: TicketId) -> None:
    harness.feed(reopened(resolved))
    with harness.engine.begin() as conn:
        conn.exec_driver_sql(f"UPDATE dispatcher.dispatch SET cycle = 0 WHERE ticket_id = '{resolved}'")
    harness.sent(resolved)

    harness.feed(deadline(resolved, due=NEW, cycle=1))

    assert notices(harness, resolved) == [("SET", "2026-12-02T04:00:00Z")]


def test_a_successor_gets_every_supplement_with_its_order(harness: Harness, ticket_id: TicketId) -> None:
    before_the_merger = datetime(2025, 11, 1, 4, 0, tzinfo=UTC)
    harness.clock.advance(before_the_merger - NOON)
    request = submitted(ticket_id, district="500112", at=before_the_merger, text="2000平方米厂房要改扩建")
    harness.feed(request, classified(ticket_id, ("planning_permit", 0.97)))
    assert harness.seen(ticket_id).dispatch.leads == ("500112",)
    harness.feed(supplemented(ticket_id, "一"), supplemented(ticket_id, "二"), resolving("500112", ticket_id))
    harness.sent(ticket_id)

    harness.clock.advance(timedelta(days=20))
    harness.feed(reopened(ticket_id))

    sent = [each for each in harness.sent(ticket_id) if each.kind.startswith("500171:")]
    assert [each.kind for each in sent] == ["500171:order", "500171:supplement", "500171:supplement"]
    assert [each.body.supplement.text for each in sent[1:]] == ["一", "二"]


def test_the_guard_passes_over_what_it_cannot_read_and_acts_on_the_rest(harness: Harness, ticket_id: TicketId) -> None:
    strange, newer = new_ticket(), new_ticket()
    harness.feed(submitted(strange, text="请问"), submitted(newer, text="请问"), submitted(ticket_id, text="请问"))
    harness.tick(timedelta(seconds=15))
    with harness.engine.begin() as conn:
        conn.exec_driver_sql(f"UPDATE dispatcher.dispatch SET triage = '{{\"v\": 2}}' WHERE ticket_id = '{strange}'")
        conn.exec_driver_sql(
            f"UPDATE dispatcher.dispatch SET triage = jsonb_set(triage, '{{reason}}', '\"QUOTA\"') WHERE ticket_id = '{newer}'"
        )

    harness.tick(timedelta(seconds=25))

    assert harness.seen(ticket_id).dispatch.leads == harness.seen(newer).dispatch.leads == ("dutydesk",)
    assert harness.rows("SELECT triage ->> 'reason' FROM dispatcher.dispatch WHERE ticket_id = :id", id=newer) == [("QUOTA",)]
    with harness.engine.begin() as conn:
        left = conn.exec_driver_sql(f"DELETE FROM dispatcher.dispatch WHERE ticket_id = '{strange}' RETURNING state").scalar()
    assert left == "AWAITING_TRIAGE"
