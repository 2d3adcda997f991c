"""The progress watchdog: another thread detects a stalled loop."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from chassis.metrics import ChassisMetrics
from chassis.timer import Timer
from chassis.watchdog import Progress, Watchdog
from tests.unit.chassis.builders import Monotonic

LIMIT = timedelta(seconds=20)


@pytest.fixture
def monotonic() -> Monotonic:
    return Monotonic()


@pytest.fixture
def metrics() -> ChassisMetrics:
    return ChassisMetrics()


@pytest.fixture
def watchdog(metrics: ChassisMetrics, monotonic: Monotonic) -> Watchdog:
    return Watchdog(metrics, monotonic=monotonic)


def stalled(metrics: ChassisMetrics, loop: str) -> float | None:
    return metrics.registry.get_sample_value("paidan_loop_stalled", {"loop": loop})


def test_a_loop_that_goes_on_is_healthy(watchdog: Watchdog, metrics: ChassisMetrics, monotonic: Monotonic) -> None:
    relay = watchdog.watch("relay", LIMIT)

    for _ in range(3):
        with relay.round():
            monotonic.seconds += 19
            watchdog.check()
        monotonic.seconds += 3600
        watchdog.check()

    assert watchdog.healthy()
    assert stalled(metrics, "relay") == 0


def test_a_round_that_overruns_its_limit_is_unhealthy_until_it_ends(
    watchdog: Watchdog, metrics: ChassisMetrics, monotonic: Monotonic
) -> None:
    relay, consumer = watchdog.watch("relay", LIMIT), watchdog.watch("consumer", LIMIT)

    with relay.round():
        monotonic.seconds += 21
        with consumer.round():
            watchdog.check()
            assert not watchdog.healthy()
            assert (stalled(metrics, "relay"), stalled(metrics, "consumer")) == (1, 0)
    watchdog.check()

    assert watchdog.healthy()
    assert stalled(metrics, "relay") == 0


def test_a_step_is_progress(watchdog: Watchdog, monotonic: Monotonic) -> None:
    relay = watchdog.watch("relay", LIMIT)

    with relay.round():
        for _ in range(5):
            monotonic.seconds += 15
            watchdog.check()
            assert watchdog.healthy()
            relay.step()


def test_a_loop_that_is_not_critical_is_reported_and_leaves_the_process_healthy(
    watchdog: Watchdog, metrics: ChassisMetrics, monotonic: Monotonic
) -> None:
    learning = watchdog.watch("learning", LIMIT, critical=False)

    with learning.round():
        monotonic.seconds += 21
        watchdog.check()

    assert watchdog.healthy()
    assert stalled(metrics, "learning") == 1


def test_the_log_says_once_where_the_thread_is_and_holds_no_values(watchdog: Watchdog, monotonic: Monotonic) -> None:
    relay = watchdog.watch("relay", LIMIT)
    inside, leave = threading.Event(), threading.Event()

    def hang_in_this_function(phone: str) -> None:
        with relay.round():
            inside.set()
            leave.wait(10)
            assert phone

    thread = threading.Thread(target=hang_in_this_function, args=("13912345678",))
    thread.start()
    inside.wait(10)
    monotonic.seconds += 21
    with capture_logs() as logs:
        watchdog.check()
        watchdog.check()
        leave.set()
        thread.join(10)
        watchdog.check()

    assert [entry["event"] for entry in logs] == ["loop_stalled", "loop_resumed"]
    assert logs[0]["loop"] == "relay"
    assert logs[0]["seconds"] == 21
    assert any("hang_in_this_function" in frame for frame in logs[0]["frames"])
    assert "13912345678" not in str(logs)


def test_it_checks_by_itself_until_it_is_stopped(metrics: ChassisMetrics) -> None:
    watchdog = Watchdog(metrics)
    relay = watchdog.watch("relay", timedelta(milliseconds=1))
    stop, seen = threading.Event(), threading.Event()
    thread = threading.Thread(target=watchdog.run, args=(stop,))

    with relay.round():
        thread.start()
        for _ in range(100):
            if not watchdog.healthy():
                seen.set()
                break
            seen.wait(0.05)
    stop.set()
    thread.join(5)

    assert seen.is_set()
    assert not thread.is_alive()


class Waits(threading.Event):
    """Each wait takes as long as the test says, and the last one ends the run."""

    def __init__(self, monotonic: Monotonic, *seconds: float) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._seconds = list(seconds)

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout == 1
        if not self._seconds:
            return True
        self._monotonic.seconds += self._seconds.pop(0)
        return False


@pytest.mark.parametrize(("waits", "stalls"), [([1.0, 60.0, 1.0, 1.0], 0), ([60.0, *[1.0] * 22], 1)])
def test_a_process_that_was_suspended_has_its_limits_begin_anew(
    watchdog: Watchdog, monotonic: Monotonic, waits: list[float], stalls: int
) -> None:
    relay = watchdog.watch("relay", LIMIT)

    with relay.round(), capture_logs() as logs:
        watchdog.run(Waits(monotonic, *waits))

    assert [line["event"] for line in logs] == ["process_resumed", *["loop_stalled"] * stalls]
    assert watchdog.healthy() == (not stalls)


def test_a_progress_that_nobody_watches_costs_nothing() -> None:
    progress = Progress("relay", LIMIT)

    with progress.round():
        progress.step()

    assert progress.overrun() is None


def test_a_tick_that_hangs_makes_the_process_unhealthy(watchdog: Watchdog, monotonic: Monotonic) -> None:
    stop = threading.Event()
    health: list[bool] = []

    def tick() -> int:
        for seconds in (59, 2):
            monotonic.seconds += seconds
            watchdog.check()
            health.append(watchdog.healthy())
        stop.set()
        return 1

    Timer("t", timedelta(seconds=1), tick, watch=watchdog.watch).run(stop)

    assert health == [True, False]
