"""Exponential backoff by name."""

from __future__ import annotations

from datetime import timedelta

import pytest

from chassis.backoff import Backoffs, pause_after
from tests.unit.chassis.builders import Monotonic

FIRST, LONGEST = timedelta(seconds=1), timedelta(seconds=4)


@pytest.fixture
def monotonic() -> Monotonic:
    return Monotonic()


@pytest.fixture
def backoffs(monotonic: Monotonic) -> Backoffs:
    return Backoffs(FIRST, LONGEST, monotonic)


@pytest.mark.parametrize(("failures", "seconds"), [(0, 1), (1, 2), (2, 4), (3, 4), (1_000_000, 4)])
def test_a_pause_doubles_up_to_the_longest(failures: int, seconds: float) -> None:
    assert pause_after(failures, FIRST, LONGEST) == timedelta(seconds=seconds)


def test_a_thing_that_fails_is_due_after_its_pause_and_stays_in_backoff_until_it_succeeds(backoffs: Backoffs, monotonic: Monotonic) -> None:
    assert [backoffs.fail("t").total_seconds() for _ in range(4)] == [1, 2, 4, 4]
    assert backoffs.due() == []

    monotonic.seconds += 4
    assert backoffs.due() == ["t"]
    assert "t" in backoffs

    assert backoffs.succeed("t")
    assert not backoffs.succeed("t")
    assert backoffs.names() == []
    assert backoffs.fail("t") == FIRST


def test_one_thing_does_not_make_another_wait(backoffs: Backoffs) -> None:
    backoffs.fail("t")

    assert "u" not in backoffs
    assert backoffs.names() == ["t"]


def test_a_probe_that_says_nothing_repeats_the_first_pause(backoffs: Backoffs, monotonic: Monotonic) -> None:
    for _ in range(3):
        backoffs.fail("t")
    monotonic.seconds += 4

    backoffs.postpone("t")
    backoffs.postpone("never failed")

    assert backoffs.due() == []
    monotonic.seconds += 1
    assert backoffs.due() == ["t"]
    assert backoffs.fail("t") == LONGEST
