from __future__ import annotations

import threading
from datetime import datetime, timedelta

import pytest
from structlog.testing import capture_logs

from chassis.testing import ManualClock
from services.sla.adapters.horizon import BrokersUnreachable, Horizon, KafkaProgress, Offsets

SECOND = timedelta(seconds=1)
TICKETS, ASSIGNMENTS = ("intake.tickets.v1", 0), ("dispatcher.assignments.v1", 0)


class Topics:
    """Progress that a test decides about."""

    def __init__(self) -> None:
        self.written: Offsets = {TICKETS: 0, ASSIGNMENTS: 0}
        self.taken_in: Offsets = {}
        self.reachable = True

    def look(self) -> tuple[Offsets, Offsets]:
        if not self.reachable:
            raise BrokersUnreachable
        return dict(self.written), dict(self.taken_in)


@pytest.fixture
def topics() -> Topics:
    return Topics()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def horizon(topics: Topics, clock: ManualClock, recovery: timedelta = timedelta(0)) -> Horizon:
    return Horizon(topics, clock, recovery=recovery)


def test_with_nothing_left_to_take_in_everything_is_known(topics: Topics, clock: ManualClock) -> None:
    topics.written, topics.taken_in = {TICKETS: 7}, {TICKETS: 7}

    assert horizon(topics, clock).known_until() == clock.now()


def test_while_a_message_waits_nothing_later_is_known(topics: Topics, clock: ManualClock) -> None:
    looking = horizon(topics, clock)
    before = looking.known_until()

    topics.written[ASSIGNMENTS] = 1
    clock.advance(SECOND)
    waiting = looking.known_until()
    clock.advance(SECOND)
    topics.taken_in[ASSIGNMENTS] = 1

    assert waiting == before
    assert looking.known_until() == clock.now()


def test_under_steady_traffic_the_horizon_moves_on_behind_the_present(topics: Topics, clock: ManualClock) -> None:
    looking = horizon(topics, clock)
    start = clock.now()
    seen: list[datetime | None] = []

    for second in range(5):
        topics.written[TICKETS] = 100 * (second + 1)
        topics.taken_in[TICKETS] = 100 * second
        seen.append(looking.known_until())
        clock.advance(SECOND)

    assert seen == [None, start, start + SECOND, start + 2 * SECOND, start + 3 * SECOND]


def test_after_the_start_nothing_is_claimed_until_others_had_time_to_send_what_they_kept_back(topics: Topics, clock: ManualClock) -> None:
    looking = horizon(topics, clock, recovery=20 * SECOND)
    first = looking.known_until()
    clock.advance(19 * SECOND)
    second = looking.known_until()
    clock.advance(SECOND)

    assert first is second is None
    assert looking.known_until() == clock.now()


def test_while_the_brokers_are_away_the_horizon_stands_still_and_after_it_waits_again(topics: Topics, clock: ManualClock) -> None:
    looking = horizon(topics, clock, recovery=20 * SECOND)
    looking.known_until()
    clock.advance(20 * SECOND)
    reached = looking.known_until()

    topics.reachable = False
    clock.advance(60 * SECOND)
    with capture_logs() as logs:
        away = [looking.known_until() for _ in range(3)]
    topics.reachable = True
    back = looking.known_until()
    clock.advance(20 * SECOND)

    assert away == [reached] * 3
    assert back == reached
    assert looking.known_until() == clock.now()
    assert [each["event"] for each in logs] == ["horizon_lost_brokers"]


def test_a_long_lag_does_not_make_the_memory_grow(topics: Topics, clock: ManualClock) -> None:
    looking = horizon(topics, clock)
    topics.written[TICKETS] = 1

    for _ in range(2000):
        looking.known_until()
        clock.advance(SECOND)
    topics.taken_in[TICKETS] = 1
    caught_up = looking.known_until()

    assert len(looking._looks) == 0
    assert caught_up is not None
    assert looking.known_until() == clock.now()


class SilentAdmin:
    """A client whose answer never comes."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def describe_topics(self, _topics: object) -> object:
        self.released.wait(20)
        raise AssertionError

    def close(self) -> None:
        self.released.wait(20)


def test_a_look_that_never_ends_is_given_up_and_the_client_dropped() -> None:
    progress = KafkaProgress(["t"], "g", {}, limit=timedelta(milliseconds=50))
    silent = SilentAdmin()
    progress._admin = silent

    with pytest.raises(BrokersUnreachable):
        progress.look()

    assert progress._admin is None
    silent.released.set()
