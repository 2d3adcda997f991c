"""A process: the first failure stops everything, what runs is drained in order, and nothing can hold it for ever."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from chassis import lifecycle

PATIENCE_SECONDS = 30


@dataclass
class Part:
    """Runs until told to stop; writes what it does to a log that all share."""

    name: str
    log: list[str]
    fails: BaseException | None = None
    fails_on_stop: BaseException | None = None
    returns: bool = False
    running: threading.Event = field(default_factory=threading.Event)

    def run(self, stop: threading.Event) -> None:
        self.log.append(f"{self.name} runs")
        self.running.set()
        if self.fails is not None:
            raise self.fails
        if not self.returns:
            assert stop.wait(PATIENCE_SECONDS)
        if self.fails_on_stop is not None:
            raise self.fails_on_stop
        self.log.append(f"{self.name} stops")


def test_parts_run_at_once_and_stop_in_the_order_given() -> None:
    log: list[str] = []
    parts = [Part(name, log) for name in ("door", "consumer", "relay")]
    stop = threading.Event()
    thread = threading.Thread(target=lifecycle.run, args=(parts, stop))

    thread.start()
    for part in parts:
        assert part.running.wait(PATIENCE_SECONDS)
    stop.set()
    thread.join(PATIENCE_SECONDS)

    assert sorted(log[:3]) == ["consumer runs", "door runs", "relay runs"]
    assert log[3:] == ["door stops", "consumer stops", "relay stops"]


def test_the_first_failure_stops_all_and_is_raised_again() -> None:
    log: list[str] = []
    parts = [Part("door", log), Part("consumer", log, fails=ZeroDivisionError("of the consumer")), Part("relay", log)]

    with pytest.raises(ZeroDivisionError, match="of the consumer"):
        lifecycle.run(parts, threading.Event())

    assert [line for line in log if line.endswith("stops")] == ["door stops", "relay stops"]


class Leaving:
    """Stands for a consumer: it stops before it is its turn, and what is before it in the order waits until it has."""

    name = "consumer"
    stops_at_once = True

    def __init__(self) -> None:
        self.left = threading.Event()

    def run(self, stop: threading.Event) -> None:
        stop.wait()
        self.left.set()


class Door:
    """Stands for a server that drains until the consumer has left."""

    name = "door"

    def __init__(self, consumer: Leaving) -> None:
        self._consumer = consumer
        self.waited = False

    def run(self, stop: threading.Event) -> None:
        stop.wait()
        self.waited = self._consumer.left.wait(10)


def test_a_part_that_stops_at_once_does_not_wait_for_those_before_it() -> None:
    consumer = Leaving()
    door = Door(consumer)
    stop = threading.Event()
    stop.set()

    lifecycle.run([door, consumer], stop)

    assert door.waited


def test_a_part_that_ends_by_itself_stops_the_others_without_an_error() -> None:
    log: list[str] = []

    lifecycle.run([Part("door", log), Part("consumer", log, returns=True), Part("relay", log)], threading.Event())

    assert [line for line in log if line.endswith("stops")][1:] == ["door stops", "relay stops"]


def test_a_failure_on_the_way_out_is_raised_and_the_rest_is_drained() -> None:
    log: list[str] = []
    stop = threading.Event()
    stop.set()

    with pytest.raises(ZeroDivisionError):
        lifecycle.run([Part("door", log, fails_on_stop=ZeroDivisionError()), Part("relay", log)], stop)

    assert "relay stops" in log


def test_even_an_exit_in_a_part_is_a_failure() -> None:
    with pytest.raises(SystemExit):
        lifecycle.run([Part("door", []), Part("consumer", [], fails=SystemExit(3))], threading.Event())


PROGRAM = """
import sys, threading, time
from datetime import timedelta
from chassis import lifecycle

class Good:
    name = "good"
    def run(self, stop):
        print("ready", flush=True)
        stop.wait()
        print("good stops", flush=True)

class Stubborn:
    name = "stubborn"
    def run(self, stop):
        time.sleep(3600)

class Last:
    name = "last"
    def run(self, stop):
        stop.wait()
        print("last stops", flush=True)

stop = threading.Event()
lifecycle.stop_on_signals(stop)
lifecycle.run([each() for each in ({parts})], stop, grace=timedelta(seconds={grace}))
print("end", flush=True)
"""


def start(*parts: str, grace: float = 10) -> subprocess.Popen[str]:
    program = PROGRAM.format(parts=", ".join(parts) + ",", grace=grace)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    while "ready" not in (line := process.stdout.readline()):
        assert line, "the program ended"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_the_process_and_it_exits_with_zero(number: signal.Signals) -> None:
    process = start("Good", "Last")

    process.send_signal(number)
    said, _ = process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == 0
    lines = [line for line in said.splitlines() if line.endswith(("stops", "end"))]
    assert lines == ["good stops", "last stops", "end"]


def test_a_signal_is_heeded_though_the_main_thread_holds_the_lock_of_the_event_just_then() -> None:
    program = """
import os, signal, threading, time
from chassis import lifecycle

stop = threading.Event()
lifecycle.stop_on_signals(stop)
with stop._cond:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.3)
assert stop.wait(20)
print("end")
"""

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True)

    assert done.stdout.endswith("end\n")


def test_a_part_that_does_not_stop_in_time_is_left_behind_by_a_hard_exit() -> None:
    process = start("Good", "Stubborn", "Last", grace=0.5)

    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == 70
    assert "good stops" in said
    assert "component_did_not_stop" in said
    assert "last stops" not in said


def test_the_grace_is_one_for_all_parts() -> None:
    class Slow:
        name = "slow"

        def run(self, stop: threading.Event) -> None:
            stop.wait()
            threading.Event().wait(0.05)

    stop = threading.Event()
    stop.set()

    lifecycle.run([Slow() for _ in range(5)], stop, grace=timedelta(seconds=10))
