"""The workday calendar of the State Council's yearly notices (国务院办公厅关于部分节假日安排的通知).

A notice names days off and make-up workdays (调休) of its year, sometimes also of the last days of the year before (that of 2007-12-16
did) or of the first of the year after. All other days follow the week: one works from Monday to Friday.

Every question is answered from two arrays in constant time:

    day        Mon Tue Wed Thu Fri Sat Sun Mon       before[d]    workdays before day d
    workday     x   x   x   x   x           x        workdays[k]  day of the k-th workday
    before      0   1   2   3   4   5   5   5
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from itertools import accumulate
from typing import TYPE_CHECKING, NewType

from services.sla.domain.errors import CalendarUnknown, InvalidNotice

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

CalendarVersion = NewType("CalendarVersion", str)

_DAY = timedelta(days=1)
_SATURDAY = 5


class DayKind(StrEnum):
    """What a day is."""

    WORKDAY = "workday"
    WEEKEND = "weekend"
    HOLIDAY = "holiday"
    MAKE_UP_WORKDAY = "make_up_workday"

    @property
    def is_workday(self) -> bool:
        """True if one works on such a day."""
        return self in {DayKind.WORKDAY, DayKind.MAKE_UP_WORKDAY}


@dataclass(frozen=True, slots=True)
class Span:
    """Days in a row, the last included."""

    first: date
    last: date

    def __iter__(self) -> Iterator[date]:
        """Iterate over the days."""
        return (self.first + n * _DAY for n in range((self.last - self.first).days + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One year's notice.

    Attributes:
        year: The year that it is for.
        off: Days off.
        make_up_workdays: Saturdays and Sundays on which one works.
    """

    year: int
    off: tuple[Span, ...]
    make_up_workdays: tuple[date, ...]


class WorkdayCalendar:
    """Knows the days of the years whose notices it was given, and no others."""

    def __init__(self, notices: Iterable[Notice], *, version: CalendarVersion) -> None:
        """Build the calendar; where notices disagree about a day the one for the later year holds.

        Args:
            notices: At most one a year.
            version: Names this set of notices.

        Raises:
            InvalidNotice: A notice contradicts itself or cannot be meant.
        """
        self.version = version
        ordered = sorted(notices, key=lambda notice: notice.year)
        special = _special_days(ordered)
        years = frozenset(notice.year for notice in ordered)
        self._first = date(ordered[0].year, 1, 1).toordinal() if ordered else 1
        until = date(ordered[-1].year + 1, 1, 1).toordinal() if ordered else 1
        self._kinds = [_kind(date.fromordinal(day), years, special) for day in range(self._first, until)]
        self._before = [0, *accumulate(kind.is_workday for kind in self._kinds)]
        self._workdays = [day for day, kind in enumerate(self._kinds) if kind.is_workday]
        self._unknown_from = {year: _first_unknown(year, years).toordinal() - self._first for year in years}

    def knows(self, year: int) -> bool:
        """Return whether the notice for `year` is at hand."""
        return year in self._unknown_from

    @property
    def end(self) -> date:
        """The day after the last that is known; 0001-01-01 if none is."""
        return date.fromordinal(self._first + len(self._kinds))

    def kind(self, day: date) -> DayKind:
        """Return what a day is.

        Raises:
            CalendarUnknown: There is no notice for its year.
        """
        self._require(day)
        return self._kinds[day.toordinal() - self._first]

    def is_workday(self, day: date) -> bool:
        """Return whether one works on a day.

        Raises:
            CalendarUnknown: There is no notice for its year.
        """
        return self.kind(day).is_workday

    def nth_workday(self, first: date, n: int) -> date:
        """Return the `n`-th workday, from 1, of those on and after `first`.

        Raises:
            CalendarUnknown: It lies in or after a year without a notice.
        """
        self._require(first)
        start, unknown = first.toordinal() - self._first, self._unknown_from[first.year]
        k = self._before[start] + n - 1
        if k >= self._before[unknown]:
            raise CalendarUnknown(date.fromordinal(self._first + unknown).year)
        return date.fromordinal(self._first + self._workdays[k])

    def count(self, first: date, until: date, *, at_most: int) -> int:
        """Return the number of workdays from `first` on, before `until`, or `at_most` if there are more.

        Raises:
            CalendarUnknown: A year without a notice begins before `at_most` are found.
        """
        if until <= first or at_most <= 0:
            return 0
        self._require(first)
        start, end, unknown = first.toordinal() - self._first, until.toordinal() - self._first, self._unknown_from[first.year]
        found = self._before[min(end, unknown)] - self._before[start]
        if found < at_most and end > unknown:
            raise CalendarUnknown(date.fromordinal(self._first + unknown).year)
        return min(found, at_most)

    def _require(self, day: date) -> None:
        if day.year not in self._unknown_from:
            raise CalendarUnknown(day.year)


def _first_unknown(year: int, years: frozenset[int]) -> date:
    while year in years:
        year += 1
    return date(year, 1, 1)


def _kind(day: date, years: frozenset[int], special: Mapping[date, DayKind]) -> DayKind:
    if day.year not in years:
        return DayKind.WEEKEND  # Fills the arrays between known years; no answer reaches into it.
    return special.get(day) or (DayKind.WEEKEND if day.weekday() >= _SATURDAY else DayKind.WORKDAY)


def _special_days(notices: Sequence[Notice]) -> dict[date, DayKind]:
    special: dict[date, DayKind] = {}
    for earlier, notice in zip([None, *notices], notices, strict=False):
        if earlier is not None and earlier.year == notice.year:
            raise InvalidNotice(notice.year, "there are two of them")
        off = {day for span in notice.off for day in _checked(notice, span)}
        if not any(day.year == notice.year for day in off):
            raise InvalidNotice(notice.year, "it names no day off in its year")
        for day in notice.make_up_workdays:
            _check_year(notice, day)
            if day in off:
                raise InvalidNotice(notice.year, "a day is both off and a make-up workday", day)
            if day.weekday() < _SATURDAY and special.get(day) is not DayKind.HOLIDAY:
                raise InvalidNotice(notice.year, "a make-up workday is a working day anyway", day)
        special |= dict.fromkeys(off, DayKind.HOLIDAY)
        special |= {day: DayKind.MAKE_UP_WORKDAY if day.weekday() >= _SATURDAY else DayKind.WORKDAY for day in notice.make_up_workdays}
    return special


def _checked(notice: Notice, span: Span) -> Span:
    if span.last < span.first:
        raise InvalidNotice(notice.year, "a span of days off ends before it begins", span.first)
    _check_year(notice, span.first)
    _check_year(notice, span.last)
    return span


def _check_year(notice: Notice, day: date) -> None:
    if abs(day.year - notice.year) > 1:
        raise InvalidNotice(notice.year, "a day is more than a year away from it", day)
