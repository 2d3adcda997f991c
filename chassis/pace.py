"""Pace: what comes alone goes at once, what comes thick and fast goes together.

    ·     ·      ·         each is handled when it comes
    ······················  one round an interval, each with all that has come by then

A transaction, a poll or a send costs about the same for one item as for ten. Without a pace a busy process makes a round for nearly every
item and spends its cores on rounds; with one, load makes the rounds larger instead of more numerous, for a delay that is bounded.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading
    from datetime import timedelta


class Pace:
    """Keeps the beginnings of rounds at least an interval apart. For one thread."""

    def __init__(self, interval: timedelta) -> None:
        """Let a round begin every `interval` at most; 0 for no pace at all."""
        self._seconds = interval.total_seconds()
        self._next = 0.0

    def wait(self, stop: threading.Event) -> None:
        """Return when the next round may begin, or at once when `stop` is set."""
        left = self._next - time.monotonic()
        if left > 0:
            stop.wait(left)
        self._next = time.monotonic() + self._seconds
