"""Progress watchdog: detects from a separate thread that a loop has stalled.

    loop: with progress.round(): … progress.step() … ◄── once a second ── watchdog ──► metric, log event, health

A loop declares its rounds with a limit. A round or step that takes longer makes the process unhealthy until the loop continues.
The watchdog ends no process: the supervisor that restarts unhealthy processes does.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chassis.metrics import ChassisMetrics

log = structlog.get_logger()

_CHECK_INTERVAL = timedelta(seconds=1)
_SUSPENDED = timedelta(seconds=5)
"""If the watchdog itself did not run for so long, the whole process did not: no loop is at fault, and their limits restart."""
_FRAMES = 15


class Progress:
    """The rounds of one loop. One thread at a time runs the loop."""

    def __init__(self, name: str, limit: timedelta, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Watch rounds of `name`; `limit` applies to a round without steps, and to each step."""
        self.name = name
        self._limit = limit.total_seconds()
        self._monotonic = monotonic
        self._current: tuple[float, int] | None = None

    @contextmanager
    def round(self) -> Iterator[None]:
        """Declare that a round runs until the end of the `with` block."""
        self.step()
        try:
            yield
        finally:
            self._current = None

    def step(self) -> None:
        """Declare progress of the current round: its limit starts again."""
        self._current = (self._monotonic(), threading.get_ident())

    def overrun(self, *, not_before: float = 0.0) -> tuple[float, int] | None:
        """Return since how many seconds the current step runs, and the identifier of its thread; None within the limit.

        Args:
            not_before: Instant of the monotonic clock from which on time counts.
        """
        current = self._current
        if current is None:
            return None
        seconds = self._monotonic() - max(current[0], not_before)
        return (seconds, current[1]) if seconds > self._limit else None


Watch = Callable[[str, timedelta], Progress]
"""Returns the progress of a loop with a name and a limit: `Watchdog.watch`, or `Progress` itself without a watchdog."""


class Watchdog:
    """Component that checks once a second that the loops of a process make progress."""

    name = "watchdog"

    def __init__(self, metrics: ChassisMetrics, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._monotonic = monotonic
        self._watched: list[Progress] = []
        self._stalled: set[str] = set()
        self._critical: set[str] = set()
        self._resumed = 0.0

    def watch(self, name: str, limit: timedelta, *, critical: bool = True) -> Progress:
        """Return the progress of a loop that is watched from now on.

        Args:
            name: Name in metrics and events.
            limit: Longest time of a step.
            critical: Whether the process is unhealthy while the loop is stalled.
        """
        if critical:
            self._critical.add(name)
        progress = Progress(name, limit, self._monotonic)
        self._watched.append(progress)
        self._metrics.loop_stalled.labels(name).set(0)
        return progress

    def healthy(self) -> bool:
        """Return whether every critical loop made progress at the last check."""
        return not self._stalled & self._critical

    def run(self, stop: threading.Event) -> None:
        """Check until `stop` is set."""
        last = self._monotonic()
        while not stop.wait(_CHECK_INTERVAL.total_seconds()):
            now = self._monotonic()
            if now - last > _SUSPENDED.total_seconds():
                self._resumed = now
                log.warning("process_resumed", seconds=round(now - last, 1))
            last = now
            self.check()

    def check(self) -> None:
        """Check every loop once."""
        for progress in self._watched:
            overrun = progress.overrun(not_before=self._resumed)
            if overrun is not None and progress.name not in self._stalled:
                self._stalled.add(progress.name)
                self._metrics.loop_stalled.labels(progress.name).set(1)
                seconds, thread = overrun
                log.error("loop_stalled", loop=progress.name, seconds=round(seconds, 1), frames=_frames_of(thread))
            elif overrun is None and progress.name in self._stalled:
                self._stalled.discard(progress.name)
                self._metrics.loop_stalled.labels(progress.name).set(0)
                log.warning("loop_resumed", loop=progress.name)


def _frames_of(thread: int) -> list[str]:
    """Return a thread's stack, innermost frame last: files, lines and functions, without values, which may be personal data."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001 - the documented way to look into another thread
    stack = traceback.StackSummary.extract(traceback.walk_stack(frame), limit=_FRAMES, lookup_lines=False)
    return [f"{each.filename}:{each.lineno} {each.name}" for each in reversed(stack)]
