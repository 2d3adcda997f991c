"""Arithmetic of a clock that counts whole workdays.

The day on which it starts is not counted. A workday is consumed if and only if the clock runs at its end, 24:00 in Shanghai; the
clock is due at the end of the workday that consumes the last of what it was given. A pause holds from its first instant until its end, not
included: one that begins exactly at the end of a day keeps that day from being consumed, and one that ends exactly there does not.

Where a deployment closes its business at, say, 18:00, a workday ends then, and what is submitted later, or on a day off, counts as
submitted on the next workday.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from services.sla.domain.calendar import WorkdayCalendar

# China has had one zone and no summer time since 1992, so that no database of zones is needed.
SHANGHAI = timezone(timedelta(hours=8), "Asia/Shanghai")

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Pause:
    """A span of time in which a clock stands still.

    Attributes:
        pause_time: First instant of the pause.
        resume_time: First instant after it; None while it lasts.
    """

    pause_time: datetime
    resume_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkdayClock:
    """Counts whole workdays.

    Attributes:
        calendar: Which days are workdays.
        close_of_business: When a workday ends, local time; None for 24:00.
    """

    calendar: WorkdayCalendar
    close_of_business: time | None = None

    def due(self, start: datetime, workdays: int, pauses: Sequence[Pause] = ()) -> datetime | None:
        """Return when a clock is due: the first instant that is too late, in UTC; None while it is paused.

        Args:
            start: When it started.
            workdays: How many it was given, 1 or more, extensions included.
            pauses: In order and apart from each other, none before `start`. Those after the due time change nothing.

        Raises:
            CalendarUnknown: The counting needs a year without a notice.
        """
        day, left = self._receipt_day(start) + _DAY, workdays
        for pause in pauses:
            first_missed = self._first_day_ending_at_or_after(pause.pause_time)
            consumed = self.calendar.count(day, first_missed, at_most=left)
            if consumed == left:
                break
            if pause.resume_time is None:
                return None
            left -= consumed
            day = max(day, self._first_day_ending_at_or_after(pause.resume_time))
        return self._end_of(self.calendar.nth_workday(day, left)).astimezone(UTC)

    def earliest_due(self, start: datetime, workdays: int) -> datetime:
        """Return when a clock would be due if every day were a workday and nothing paused it; no calendar is needed."""
        return self._end_of(start.astimezone(SHANGHAI).date() + workdays * _DAY).astimezone(UTC)

    def moment_of_last_workday(self, due: datetime, moment: time) -> datetime:
        """Return the instant of a local time on the last workday before a due time."""
        last = due.astimezone(SHANGHAI).date()
        return datetime.combine(last if self.close_of_business else last - _DAY, moment, SHANGHAI)

    def _receipt_day(self, start: datetime) -> date:
        local = start.astimezone(SHANGHAI)
        if self.close_of_business is None:
            return local.date()
        open_from = local.date() if local.time() < self.close_of_business else local.date() + _DAY
        return self.calendar.nth_workday(open_from, 1)

    def _end_of(self, day: date) -> datetime:
        if self.close_of_business is None:
            return datetime.combine(day + _DAY, time.min, SHANGHAI)
        return datetime.combine(day, self.close_of_business, SHANGHAI)

    def _first_day_ending_at_or_after(self, instant: datetime) -> date:
        day = instant.astimezone(SHANGHAI).date() - _DAY
        while self._end_of(day) < instant:
            day += _DAY
        return day
