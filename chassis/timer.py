"""Periodic work: one thread per timer, by the monotonic clock.

Three rules for errors:

- A transient database error (`chassis.transient`) delays the tick, with a backoff of up to 5 s, and is logged as a warning.
- An error of one item of a batch pushes that item back, and the others continue: `chassis.due_items`.
- Any other error is a bug and ends the process, as it does in every component.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from chassis.transient import is_transient
from chassis.watchdog import Progress

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from chassis.watchdog import Watch

log = structlog.get_logger()

_TICK_LIMIT = timedelta(minutes=1)
"""A tick that takes longer counts as stalled."""
_FIRST_BACKOFF = timedelta(seconds=1)
_LONGEST_BACKOFF = timedelta(seconds=5)


class Timer:
    """Calls `tick` every `interval`, and again at once while a tick reports that it found work.

    After a transient error the next tick comes after 1 s, or the interval if that is shorter, then after twice the last pause, up to 5 s.
    Any other exception ends the process.
    """

    def __init__(self, name: str, interval: timedelta, tick: Callable[[], int], *, watch: Watch = Progress) -> None:
        self.name = name
        self._interval = interval
        self._tick = tick
        self._progress = watch(f"timer {name}", _TICK_LIMIT)
        self._backoff: timedelta | None = None

    def run(self, stop: threading.Event) -> None:
        """Tick until `stop` is set."""
        while not stop.is_set():
            if self._tick_once() == 0:
                stop.wait((self._backoff or self._interval).total_seconds())

    def _tick_once(self) -> int:
        try:
            with self._progress.round():
                found = self._tick()
        except Exception as error:
            if not is_transient(error):
                raise
            self._backoff = self._next_backoff()
            pause = self._backoff.total_seconds()
            log.warning("timer_tick_failed", timer=self.name, error=type(error).__name__, pause_seconds=pause)
            return 0
        self._backoff = None
        return found

    def _next_backoff(self) -> timedelta:
        if self._backoff is None:
            return min(self._interval, _FIRST_BACKOFF)
        return min(self._backoff * 2, _LONGEST_BACKOFF)
