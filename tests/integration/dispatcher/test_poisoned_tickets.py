"""The minute timer, and tickets on which it fails."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, text

from chassis.due_items import DueItemsTick
from services.dispatcher.adapters.timer import DueDispatches
from services.dispatcher.domain.choosing import Chooser
from services.dispatcher.domain.values import State
from tests.integration.dispatcher.harness import Harness, new_ticket, submitted
from tests.unit.dispatcher.builders import CATALOGUE, NOON, POLICY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from services.dispatcher.domain.values import Choice, ClassCode, KeepCount, Ticket, TicketId, UnitCode

POISON = "!poison"
BEHIND = 200


class PoisonedChooser(Chooser):
    """Fails on one text, as a bug would."""

    def by_rules(self, ticket: Ticket, counts: Mapping[tuple[UnitCode, ClassCode], KeepCount]) -> Choice:
        if ticket.text == POISON:
            raise ZeroDivisionError
        return super().by_rules(ticket, counts)


@pytest.fixture
def replicas(dispatcher_url: str) -> Iterator[Sequence[Harness]]:
    opened = [Harness(dispatcher_url), Harness(dispatcher_url)]
    for each in opened:
        each.office = replace(each.office, chooser=PoisonedChooser(CATALOGUE, POLICY))
    yield opened
    with opened[0].engine.begin() as conn:
        conn.execute(text("UPDATE dispatcher.dispatch SET next_action_time = NULL"))
    for each in opened:
        each.close()


def guard_of(replica: Harness) -> DueItemsTick:
    items = DueDispatches(replica.unit_of_work, replica.office)
    return DueItemsTick("guard-minute", items, replica.chassis_metrics, batch=100, monotonic=lambda: 0.0)


def fall_due(replica: Harness) -> tuple[TicketId, list[TicketId]]:
    """Let a ticket that is longest overdue fall due, and `BEHIND` others behind it; returns their ids."""
    first, behind = new_ticket(), [new_ticket() for _ in range(BEHIND)]
    replica.feed(submitted(first, at=NOON - timedelta(seconds=9), text=POISON), *(submitted(ticket_id) for ticket_id in behind))
    replica.clock.advance(timedelta(seconds=30))
    return first, behind


def undecided(replica: Harness, ticket_ids: Sequence[TicketId]) -> list[str]:
    rows = replica.rows("SELECT ticket_id FROM dispatcher.dispatch WHERE state = 'PENDING' AND ticket_id = ANY(:ids)", ids=list(ticket_ids))
    return [row.ticket_id for row in rows]


def fails_in_our_code(_replica: Harness, _ticket_id: TicketId) -> None:
    """The text is enough."""


def cannot_be_read(replica: Harness, ticket_id: TicketId) -> None:
    with replica.engine.begin() as conn:
        conn.execute(text("UPDATE dispatcher.dispatch SET triage = '[1]' WHERE ticket_id = :id"), {"id": ticket_id})


@pytest.mark.parametrize("poison", [fails_in_our_code, cannot_be_read])
def test_a_ticket_that_fails_stops_none_of_the_two_hundred_behind_it(
    replicas: Sequence[Harness], poison: Callable[[Harness, TicketId], None]
) -> None:
    replica = replicas[0]
    poisoned, behind = fall_due(replica)
    poison(replica, poisoned)
    guard = guard_of(replica)

    ticks = 0
    while guard():
        ticks += 1

    assert undecided(replica, behind) == []
    assert undecided(replica, [poisoned]) == [poisoned]
    assert ticks <= BEHIND // 100 + 1
    assert replica.count("paidan_timer_item_failures_total", timer="guard-minute") == 1
    assert replica.count("paidan_timer_items_pushed_back", timer="guard-minute") == 1


def test_two_replicas_share_what_is_due_around_a_ticket_that_fails(replicas: Sequence[Harness]) -> None:
    one, other = replicas
    poisoned, behind = fall_due(one)
    other.clock.set(one.clock.now())

    acted = [guard_of(each)() for each in (one, other)]

    assert sum(acted) + len(undecided(one, behind)) == BEHIND
    assert all(each >= 99 for each in acted)
    assert undecided(one, [poisoned]) == [poisoned]


@pytest.fixture
def forbidden(dispatcher_url: str) -> Iterator[TicketId]:
    """A ticket whose row a check refuses, as a row of a faulty release would be."""
    ticket_id = new_ticket()
    owner = create_engine(dispatcher_url)
    with owner.begin() as conn:
        conn.execute(text(f"ALTER TABLE dispatcher.dispatch ADD CONSTRAINT forbidden CHECK (ticket_id <> '{ticket_id}')"))
    yield ticket_id
    with owner.begin() as conn:
        conn.execute(text("ALTER TABLE dispatcher.dispatch DROP CONSTRAINT forbidden"))
    owner.dispose()


def test_a_row_that_a_check_refuses_is_a_bug_and_not_the_work_of_another_replica(harness: Harness, forbidden: TicketId) -> None:
    neighbour = new_ticket()

    harness.feed(submitted(forbidden), submitted(neighbour))

    assert harness.kinds(forbidden) == ["dlq"]
    assert harness.seen(neighbour).dispatch.state is State.PENDING
