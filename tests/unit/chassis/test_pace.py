"""Rounds are kept apart when there is much to do, and never delayed when there is little."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from chassis import pace
from chassis.pace import Pace


class Moment:
    """A monotonic clock that moves when somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waits.append(timeout)
        self.now += timeout
        return False


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> Moment:
    moment = Moment()
    monkeypatch.setattr(pace, "time", moment)
    return moment


def stop_of(moment: Moment) -> threading.Event:
    stop = threading.Event()
    stop.wait = moment.wait  # type: ignore[method-assign]
    return stop


def test_what_comes_alone_goes_at_once(moment: Moment) -> None:
    rounds = Pace(timedelta(seconds=0.05))
    stop = stop_of(moment)

    rounds.wait(stop)
    moment.now += 0.06
    rounds.wait(stop)

    assert moment.waits == []


def test_what_comes_thick_and_fast_waits_for_the_rest_of_the_interval(moment: Moment) -> None:
    rounds = Pace(timedelta(seconds=0.05))
    stop = stop_of(moment)

    for _ in range(3):
        rounds.wait(stop)
        moment.now += 0.02

    assert moment.waits == pytest.approx([0.03, 0.03])


def test_without_an_interval_nothing_waits(moment: Moment) -> None:
    rounds = Pace(timedelta(0))
    stop = stop_of(moment)

    for _ in range(100):
        rounds.wait(stop)

    assert moment.waits == []


def test_a_stop_ends_the_wait() -> None:
    rounds = Pace(timedelta(hours=1))
    stop = threading.Event()
    stop.set()

    rounds.wait(stop)
    rounds.wait(stop)
