"""The supervisor: each child comes back on its own, and one that keeps ending backs off and shows its error."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from deploy.local.process import ManagedProcess, wait_until
from deploy.local.supervisor import backoff_seconds, supervised
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Make = Callable[[str, str], "Script"]


class Script:
    """A child that is a shell script; ready when it has written `ready`."""

    def __init__(self, name: str, script: str, directory: Path) -> None:
        self.name = name
        self.starts: list[float] = []
        self.process = ManagedProcess(name, ["sh", "-c", script], None, directory / f"{name}.log")

    @property
    def alive(self) -> bool:
        return self.process.alive

    def restart(self) -> None:
        self.starts.append(time.monotonic())
        self.process.start()
        wait_until(lambda: "ready" in self.process.tail(), timedelta(seconds=60), "line that says ready", self.process)

    def kill(self) -> None:
        self.process.kill()


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Callable[[str, str], Script]]:
    """Make children by name and script; they are killed at the end."""
    children: list[Script] = []

    def make(name: str, script: str) -> Script:
        children.append(Script(name, script, tmp_path))
        return children[-1]

    yield make
    for made in children:
        made.kill()


@pytest.fixture
def steady(child: Make) -> Script:
    return child("steady", "echo ready; exec sleep 600")


@pytest.fixture
def broken(child: Make) -> Script:
    return child("broken", "echo ERROR no such disk; exit 3")


@pytest.fixture
def slow(child: Make) -> Script:
    return child("slow", "exec sleep 600")


def test_a_killed_child_is_started_again_at_once_and_each_step_is_printed(steady: Script) -> None:
    said: list[str] = []
    steady.restart()

    with supervised([steady], said.append):
        os.kill(steady.process.pid or 0, signal.SIGKILL)
        eventually(lambda: len(said) == 2, "restart", within=5)

    assert steady.alive
    assert said[0] == "steady was ended by SIGKILL: starting it again"
    assert said[1].startswith("steady is ready again after ")


def test_a_child_that_keeps_ending_backs_off_and_shows_its_last_error_once(broken: Script) -> None:
    said: list[str] = []

    with supervised([broken], said.append):
        eventually(lambda: len(broken.starts) == 4, "fourth start", within=15)

    gaps = [later - earlier for earlier, later in pairwise(broken.starts)]
    assert all(gap >= least for gap, least in zip(gaps, (0.5, 1, 2), strict=True)), gaps
    (shown,) = [line for line in said if "times in a row" in line]
    assert shown.endswith(f"from {broken.process.log_path}:\nERROR no such disk")
    assert not broken.alive


def test_a_child_that_cannot_start_delays_no_other(steady: Script, slow: Script) -> None:
    steady.restart()
    said: list[str] = []

    with supervised([slow, steady], said.append):
        eventually(lambda: slow.alive, "start of the slow one")
        os.kill(steady.process.pid or 0, signal.SIGKILL)
        eventually(lambda: any("steady is ready again" in line for line in said), "restart", within=5)


def test_a_start_that_fails_in_an_unforeseen_way_is_tried_again(steady: Script) -> None:
    said: list[str] = []
    start = steady.process.start

    def lost_once() -> None:
        steady.process.start = start  # type: ignore[method-assign]
        raise ConnectionError("server closed the connection")

    steady.process.start = lost_once  # type: ignore[method-assign]

    with supervised([steady], said.append):
        eventually(lambda: any("steady is ready again" in line for line in said), "second start", within=5)

    assert said[1] == "steady did not start (ConnectionError: server closed the connection): starting it again in 0.5 s"


def test_an_end_by_a_signal_without_a_name_is_an_end_too(steady: Script) -> None:
    said: list[str] = []
    steady.restart()

    with supervised([steady], said.append):
        os.kill(steady.process.pid or 0, signal.SIGRTMIN + 3)
        eventually(lambda: len(said) == 2, "restart", within=5)

    assert said[0] == f"steady was ended by signal {signal.SIGRTMIN + 3}: starting it again"


def test_an_interrupt_during_a_slow_start_ends_it_within_a_second(slow: Script) -> None:

    with supervised([slow], lambda _line: None):
        eventually(lambda: slow.alive, "start")
        begin = time.monotonic()

    assert time.monotonic() - begin < 2
    assert not slow.alive


def test_the_pause_doubles_and_has_a_bound() -> None:
    assert [backoff_seconds(failures) for failures in range(1, 8)] == [0, 0.5, 1, 2, 4, 5, 5]
