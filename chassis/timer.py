"""Periodic work: one thread per timer, by the monotonic clock."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from chassis.watchdog import Progress

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from chassis.watchdog import Watch

log = structlog.get_logger()

_TICK_LIMIT = timedelta(minutes=1)
"""A tick that takes longer hangs."""


class Timer:
    """Calls `tick` every `interval`, and at once again while a tick says that it found work.

    A tick that cannot reach its database is logged and tried again at the next interval; any other exception ends the process.
    """

    def __init__(self, name: str, interval: timedelta, tick: Callable[[], int], *, watch: Watch = Progress) -> None:
        self.name = name
        self._interval = interval
        self._tick = tick
        self._progress = watch(f"timer {name}", _TICK_LIMIT)

    def run(self, stop: threading.Event) -> None:
        """Tick until `stop` is set."""
        while not stop.is_set():
            if self._tick_once() == 0:
                stop.wait(self._interval.total_seconds())

    def _tick_once(self) -> int:
        try:
            with self._progress.round():
                return self._tick()
        except (DBAPIError, PoolTimeout) as error:
            log.warning("timer_tick_failed", timer=self.name, error=type(error).__name__)
            return 0
