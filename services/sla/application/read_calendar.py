"""Read the workday calendar."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from services.sla.domain.calendar import Span
from services.sla.domain.errors import InvalidFields, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from services.sla.domain.calendar import DayKind
    from services.sla.domain.promise import Rules

MOST_DAYS = 800


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadCalendar:
    """Wanted: the days from `from_date` on, before `until_date`."""

    from_date: date
    until_date: date


def read_calendar(rules: Rules, query: ReadCalendar) -> Sequence[tuple[date, DayKind]]:
    """Return the days in order with what they are.

    Raises:
        InvalidFields: The span is empty or too long.
        CalendarUnknown: There is no notice for a year of the span.
    """
    length = (query.until_date - query.from_date).days
    if not 1 <= length <= MOST_DAYS:
        raise InvalidFields([Problem("until_date", f"is {length} days after from_date, must be 1–{MOST_DAYS}")])
    calendar = rules.resolution.clock.calendar
    return [(day, calendar.kind(day)) for day in Span(query.from_date, query.until_date - timedelta(days=1))]
