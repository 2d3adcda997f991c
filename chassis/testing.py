"""Stand-ins for tests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import timedelta


class ManualClock:
    """A clock that moves only when told to."""

    def __init__(self, start: datetime = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)) -> None:
        self._now = start

    def now(self) -> datetime:
        """Return the instant that was set last."""
        return self._now

    def set(self, instant: datetime) -> None:
        """Move to an instant, aware."""
        self._now = instant

    def advance(self, by: timedelta) -> None:
        """Move on."""
        self._now += by
