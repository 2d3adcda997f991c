"""Periodic work: one thread per timer, by the monotonic clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from datetime import timedelta

log = structlog.get_logger()


class Timer:
    """Calls `tick` every `interval`, and at once again while a tick says that it found work.

    A tick that cannot reach its database is logged and tried again at the next interval; any other exception ends the process.
    """

    def __init__(self, name: str, interval: timedelta, tick: Callable[[], int]) -> None:
        self.name = name
        self._interval = interval
        self._tick = tick

    def run(self, stop: threading.Event) -> None:
        """Tick until `stop` is set."""
        while not stop.is_set():
            if self._tick_once() == 0:
                stop.wait(self._interval.total_seconds())

    def _tick_once(self) -> int:
        try:
            return self._tick()
        except (DBAPIError, PoolTimeout) as error:
            log.warning("timer_tick_failed", timer=self.name, error=type(error).__name__)
            return 0
