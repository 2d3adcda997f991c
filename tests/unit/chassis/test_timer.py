"""Periodic work."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from psycopg.errors import UndefinedColumn
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from chassis.timer import Timer

if TYPE_CHECKING:
    from collections.abc import Callable


class Stop(threading.Event):
    """Notes how long each wait would have been, does not wait, and stops after some."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.waits: list[float | None] = []
        self._after = after

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        if len(self.waits) == self._after:
            self.set()
        return self.is_set()


def ticks(*outcomes: int | Exception) -> Callable[[], int]:
    """A tick that returns or raises one outcome after the other."""
    left = iter(outcomes)

    def tick() -> int:
        outcome = next(left)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return tick


def test_it_ticks_once_an_interval() -> None:
    ticks: list[int] = []
    stop = Stop(3)

    Timer("t", timedelta(seconds=2.5), lambda: ticks.append(1) or 0).run(stop)

    assert len(ticks) == 3
    assert stop.waits == [2.5, 2.5, 2.5]


def test_while_a_tick_finds_work_the_next_comes_at_once() -> None:
    found = iter([500, 500, 1, 0, 7, 0])
    stop = Stop(2)

    Timer("t", timedelta(seconds=60), lambda: next(found)).run(stop)

    assert next(found, "all") == "all"
    assert stop.waits == [60, 60]


@pytest.mark.parametrize("error", [OperationalError("SELECT", {}, Exception("away")), PoolTimeout("no connection")])
def test_a_tick_that_does_not_reach_its_database_comes_again_at_the_next_interval(error: Exception) -> None:
    stop = Stop(2)
    Timer("t", timedelta(seconds=1), ticks(error, 0)).run(stop)

    assert stop.waits == [1, 1]


def test_while_the_database_stays_away_ticks_come_ever_more_rarely_but_at_least_every_five_seconds() -> None:
    away = OperationalError("SELECT", {}, Exception("away"))
    stop = Stop(8)
    Timer("t", timedelta(minutes=1), ticks(*[away] * 6, 0, 0)).run(stop)

    assert stop.waits == [1, 2, 4, 5, 5, 5, 60, 60]


def test_an_error_of_the_statement_ends_it() -> None:
    def tick() -> int:
        raise ProgrammingError("SELECT", {}, UndefinedColumn("nonsense"))

    with pytest.raises(ProgrammingError):
        Timer("t", timedelta(seconds=1), tick).run(Stop(2))


def test_any_other_error_ends_it() -> None:
    def tick() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Timer("t", timedelta(seconds=1), tick).run(Stop(1))


def test_it_does_not_tick_when_it_is_stopped_already() -> None:
    stop = threading.Event()
    stop.set()

    Timer("t", timedelta(seconds=1), lambda: pytest.fail("ticked")).run(stop)


def test_it_stops_between_two_ticks_even_while_there_is_work() -> None:
    stop = threading.Event()
    ticks: list[int] = []

    def tick() -> int:
        ticks.append(1)
        if len(ticks) == 3:
            stop.set()
        return 1

    Timer("t", timedelta(hours=1), tick).run(stop)

    assert len(ticks) == 3
