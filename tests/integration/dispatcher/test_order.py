"""Topics know nothing of each other's order: whatever comes first is kept, nothing is lost, nothing happens twice."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from chassis.message import RetryLater
from paidan.sla.v1 import events_pb2 as sla
from services.dispatcher.domain.values import State
from tests.integration.dispatcher.harness import (
    SECOND,
    FakeRecord,
    Harness,
    accepting,
    again,
    classified,
    deadline,
    new_ticket,
    submitted,
    supplemented,
    withdrawn,
)
from tests.unit.dispatcher.builders import INDUSTRY, NOON, YUZHONG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from services.dispatcher.domain.values import TicketId

ORDERS = list(itertools.permutations([submitted, classified, deadline, supplemented]))


@pytest.mark.parametrize("together", [True, False], ids=["one poll", "a poll each"])
@pytest.mark.parametrize("order", ORDERS, ids=["-".join(each.__name__ for each in order) for order in ORDERS])
def test_submission_classification_deadline_and_supplement_come_to_the_same_in_any_order(
    harness: Harness, ticket_id: TicketId, order: Sequence[Callable[[str], FakeRecord]], *, together: bool
) -> None:
    records = [make(ticket_id) for make in order]

    for poll in [records] if together else [[record] for record in records]:
        harness.feed(*poll)

    kinds = harness.kinds(ticket_id)
    assert sorted(kinds) == sorted(
        [
            f"{INDUSTRY}:order",
            f"{YUZHONG}:order",
            f"{INDUSTRY}:supplement",
            f"{YUZHONG}:supplement",
            f"{INDUSTRY}:deadline",
            "TicketDispatched",
        ],
    )
    assert kinds.index(f"{INDUSTRY}:order") < kinds.index("TicketDispatched")
    dispatch = harness.seen(ticket_id).dispatch
    assert (dispatch.state, dispatch.epoch, dispatch.early) == (State.DISPATCHED, 1, ())
    assert dispatch.due_time == NOON + timedelta(days=3)


@pytest.mark.parametrize("poll", [1, 3])
def test_a_withdrawal_before_anything_else_is_not_forgotten(harness: Harness, ticket_id: TicketId, poll: int) -> None:
    records = [withdrawn(ticket_id), classified(ticket_id), submitted(ticket_id)]

    for start in range(0, 3, poll):
        harness.feed(*records[start : start + poll])
    harness.tick(60 * SECOND)

    assert harness.sent(ticket_id) == []
    assert harness.seen(ticket_id).dispatch.state is State.WITHDRAWN


def test_what_waits_for_its_ticket_is_seen_by_nobody(harness: Harness, ticket_id: TicketId) -> None:
    harness.feed(classified(ticket_id), deadline(ticket_id))

    harness.tick(60 * SECOND)

    assert harness.reading.find(ticket_id, None) is None
    assert harness.reading.count_unsubmitted() >= 1
    assert harness.sent(ticket_id) == []


def test_repeated_news_change_nothing(harness: Harness, ticket_id: TicketId) -> None:
    records = [submitted(ticket_id), classified(ticket_id), deadline(ticket_id)]
    harness.feed(*records, *map(again, records))
    harness.sent(ticket_id)

    harness.feed(*map(again, records))
    harness.feed(submitted(ticket_id), classified(ticket_id, ("tax_filing", 0.99)))

    assert harness.sent(ticket_id) == []
    assert harness.seen(ticket_id).dispatch.epoch == 1


def test_a_classification_after_the_rules_is_recorded_and_changes_nothing(harness: Harness, ticket_id: TicketId) -> None:
    harness.feed(submitted(ticket_id, text="变压器增容报装"))
    harness.tick(15 * SECOND)
    harness.sent(ticket_id)

    harness.feed(classified(ticket_id, ("tax_filing", 0.99)))

    dispatch = harness.seen(ticket_id).dispatch
    assert harness.sent(ticket_id) == []
    assert dispatch.assignment is not None
    assert (dispatch.assignment.lead, dispatch.epoch) == (INDUSTRY, 1)
    assert dispatch.classification is not None
    assert dispatch.classification.ranked[0].class_code == "tax_filing"


def test_a_classification_after_the_fallback_gives_the_desk_its_guesses_and_changes_nothing_else(
    harness: Harness, ticket_id: TicketId
) -> None:
    harness.feed(submitted(ticket_id, text="有个事情想反映"))
    harness.tick(15 * SECOND)
    harness.tick(25 * SECOND)
    harness.sent(ticket_id)

    harness.feed(classified(ticket_id))

    dispatch = harness.seen(ticket_id).dispatch
    assert harness.sent(ticket_id) == []
    assert dispatch.assignment is not None
    assert (dispatch.assignment.lead, dispatch.epoch) == ("dutydesk", 1)
    assert dispatch.triage is not None
    assert dispatch.triage.candidates[0].unit == INDUSTRY


def test_a_classification_between_rules_and_fallback_still_decides(harness: Harness, ticket_id: TicketId) -> None:
    harness.feed(submitted(ticket_id, text="有个事情想反映"))
    harness.tick(15 * SECOND)

    harness.feed(classified(ticket_id))

    assert harness.kinds(ticket_id) == ["TicketSentToTriage", f"{INDUSTRY}:order", f"{YUZHONG}:order", "TicketDispatched"]
    assert harness.tick(60 * SECOND) == 0


def test_a_poisoned_message_does_not_spoil_its_batch(harness: Harness, ticket_id: TicketId) -> None:
    poisoned = classified(ticket_id)
    poisoned.value = b"\xff\xff"

    harness.feed(poisoned, submitted(ticket_id), classified(ticket_id))

    kinds = harness.kinds(ticket_id)
    assert "dlq" in kinds
    assert "TicketDispatched" in kinds


def test_a_batch_of_many_tickets_is_handled_with_as_many_statements_as_a_batch_of_one(harness: Harness) -> None:
    statements: list[str] = []
    from sqlalchemy import event  # noqa: PLC0415 - only this test looks at statements

    event.listen(harness.engine, "before_cursor_execute", lambda *call: statements.append(call[2]))

    def fed(count: int) -> int:
        tickets = [new_ticket() for _ in range(count)]
        harness.feed(*map(submitted, tickets))
        statements.clear()
        harness.feed(*map(classified, tickets))
        return len(statements)

    assert fed(100) == fed(1) <= 12


@pytest.fixture
def replicas(dispatcher_url: str) -> Iterator[list[Harness]]:
    opened = [Harness(dispatcher_url) for _ in range(2)]
    yield opened
    for each in opened:
        each.close()


def both(*acts: Callable[[], object]) -> list[object]:
    """Act in two threads at the same moment; returns results and errors."""
    barrier = threading.Barrier(len(acts))

    def run(act: Callable[[], object]) -> object:
        barrier.wait()
        try:
            return act()
        except RetryLater:
            return act()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def test_two_replicas_that_hear_of_a_ticket_at_the_same_moment_lose_nothing(replicas: list[Harness]) -> None:
    one, other = replicas
    for _ in range(30):
        ticket_id = new_ticket()
        first, second = submitted(ticket_id), classified(ticket_id)

        both(lambda: one.feed(first), lambda: other.feed(second))  # noqa: B023 - used in this turn only

        assert one.kinds(ticket_id) == [f"{INDUSTRY}:order", f"{YUZHONG}:order", "TicketDispatched"]


def test_the_guard_and_the_classification_do_not_both_decide(replicas: list[Harness]) -> None:
    one, other = replicas
    for _ in range(15):
        ticket_id = new_ticket()
        one.feed(submitted(ticket_id, text="变压器增容报装"))
        one.clock.advance(15 * SECOND)
        late = classified(ticket_id)

        both(one.tick, lambda: other.feed(late))  # noqa: B023 - used in this turn only

        assert one.kinds(ticket_id).count("TicketDispatched") == 1
        assert one.seen(ticket_id).dispatch.epoch == 1


def test_two_guards_share_the_work_and_never_a_ticket(replicas: list[Harness]) -> None:
    one, other = replicas
    tickets = [new_ticket() for _ in range(150)]
    one.feed(*(submitted(ticket_id, text="变压器增容报装") for ticket_id in tickets))
    for each in replicas:
        each.clock.advance(15 * SECOND)

    both(one.tick, other.tick)

    for ticket_id in tickets:
        assert one.kinds(ticket_id).count("TicketDispatched") == 1


def test_batches_that_share_tickets_do_not_lock_each_other_out(replicas: list[Harness]) -> None:
    one, other = replicas
    tickets = [new_ticket() for _ in range(60)]
    one.feed(*map(submitted, tickets), *map(classified, tickets))

    both(
        lambda: one.feed(*(accepting(INDUSTRY, ticket_id) for ticket_id in tickets)),
        lambda: other.feed(*(deadline(ticket_id, sla.DeadlineSet) for ticket_id in reversed(tickets))),
    )

    for ticket_id in tickets:
        dispatch = one.seen(ticket_id).dispatch
        assert (dispatch.state, dispatch.due_time) == (State.ACCEPTED, NOON + timedelta(days=3))
