"""Exponential backoff per name, measured by the monotonic clock."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta


@dataclass(slots=True)
class _Pause:
    failures: int
    end: float


class Backoffs:
    """Names in backoff. A name stays until it succeeds, and may be probed when its pause has ended. Not thread-safe."""

    def __init__(self, first: timedelta, longest: timedelta, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Begin with a pause of `first`, and double it with each failure up to `longest`."""
        self._first = first
        self._longest = longest
        self._monotonic = monotonic
        self._pauses: dict[str, _Pause] = {}

    def __contains__(self, name: object) -> bool:
        """Whether a thing is in backoff."""
        return name in self._pauses

    def names(self) -> list[str]:
        """Return the names in backoff."""
        return list(self._pauses)

    def fail(self, name: str) -> timedelta:
        """Begin the backoff of a name, or its next and longer pause; return the pause."""
        failures = self._pauses[name].failures if name in self._pauses else 0
        pause = pause_after(failures, self._first, self._longest)
        self._pauses[name] = _Pause(failures + 1, self._monotonic() + pause.total_seconds())
        return pause

    def postpone(self, name: str) -> None:
        """Repeat the first pause of a name in backoff without counting a failure: the result of its probe is unknown."""
        if name in self._pauses:
            self._pauses[name].end = self._monotonic() + self._first.total_seconds()

    def succeed(self, name: str) -> bool:
        """End the backoff of a name; return whether it was in backoff."""
        return self._pauses.pop(name, None) is not None

    def due(self) -> list[str]:
        """Return the names whose pause has ended."""
        now = self._monotonic()
        return [name for name, pause in self._pauses.items() if pause.end <= now]


def pause_after(failures: int, first: timedelta, longest: timedelta) -> timedelta:
    """Return the pause after `failures` earlier failures: `first`, doubled after each failure, at most `longest`."""
    return min(first * (1 << min(failures, 20)), longest)
