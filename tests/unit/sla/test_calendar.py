from __future__ import annotations

from datetime import date, timedelta

import pytest

from services.sla.domain.calendar import DayKind, Notice, Span
from services.sla.domain.errors import CalendarUnknown, InvalidNotice
from tests.unit.sla.builders import NOTICE_FOR_2027, calendar, calendar_of, days, official_notices, span


@pytest.mark.parametrize(
    ("day", "kind"),
    [
        ("2026-11-23", DayKind.WORKDAY),
        ("2026-11-28", DayKind.WEEKEND),
        ("2026-10-01", DayKind.HOLIDAY),
        ("2026-02-21", DayKind.HOLIDAY),
        ("2026-02-14", DayKind.MAKE_UP_WORKDAY),
        ("2026-09-20", DayKind.MAKE_UP_WORKDAY),
    ],
)
def test_a_day_is_what_the_notice_says_and_otherwise_what_the_week_says(day: str, kind: DayKind) -> None:
    assert calendar().kind(date.fromisoformat(day)) is kind


@pytest.mark.parametrize("year", [2025, 2026])
def test_the_official_years_have_248_workdays(year: int) -> None:
    found = calendar().count(date(year, 1, 1), date(year, 12, 31) + timedelta(days=1), at_most=366)

    assert found == 248


@pytest.mark.parametrize("day", ["2024-12-31", "2027-01-01", "1999-06-01", "2100-06-01"])
def test_a_year_without_a_notice_is_unknown_and_never_guessed(day: str) -> None:
    asked = date.fromisoformat(day)

    with pytest.raises(CalendarUnknown) as unknown:
        calendar().is_workday(asked)

    assert unknown.value.year == asked.year


def test_counting_on_into_a_year_without_a_notice_names_that_year() -> None:
    with pytest.raises(CalendarUnknown) as unknown:
        calendar().nth_workday(date(2026, 12, 30), 3)

    assert unknown.value.year == 2027


def test_the_last_workday_of_a_known_year_needs_no_notice_for_the_next() -> None:
    assert calendar().nth_workday(date(2026, 12, 29), 3) == date(2026, 12, 31)


def test_counting_stops_at_the_wanted_number_before_it_meets_an_unknown_year() -> None:
    assert calendar().count(date(2026, 12, 29), date(2027, 6, 1), at_most=3) == 3
    with pytest.raises(CalendarUnknown):
        calendar().count(date(2026, 12, 29), date(2027, 6, 1), at_most=4)


def test_an_empty_span_needs_no_calendar() -> None:
    assert calendar().count(date(2030, 1, 2), date(2030, 1, 2), at_most=5) == 0


def test_a_missing_year_between_two_known_ones_is_never_jumped_over() -> None:
    gap = calendar_of([*official_notices()[:1], NOTICE_FOR_2027])

    with pytest.raises(CalendarUnknown) as unknown:
        gap.nth_workday(date(2025, 12, 30), 3)

    assert unknown.value.year == 2026
    assert gap.kind(date(2027, 1, 1)) is DayKind.HOLIDAY
    with pytest.raises(CalendarUnknown):
        gap.kind(date(2026, 6, 1))


def test_a_calendar_without_notices_knows_nothing() -> None:
    with pytest.raises(CalendarUnknown):
        calendar_of([]).nth_workday(date(2026, 1, 1), 1)


def test_a_new_notice_can_change_the_last_days_of_the_year_before() -> None:
    # The notice for 2008 did so: 2007-12-29 was worked, 2007-12-30 and 31 were off.
    changed = calendar(Notice(year=2027, off=(span("2026-12-31", "2027-01-02"),), make_up_workdays=days("2026-12-27")))

    assert changed.kind(date(2026, 12, 31)) is DayKind.HOLIDAY
    assert changed.kind(date(2026, 12, 27)) is DayKind.MAKE_UP_WORKDAY


def test_a_later_notice_can_take_a_day_off_back() -> None:
    earlier = Notice(year=2025, off=(span("2025-01-01"), span("2026-01-01", "2026-01-02")), make_up_workdays=())
    later = Notice(year=2026, off=(span("2026-01-01"),), make_up_workdays=days("2026-01-02"))

    assert calendar_of([earlier, later]).kind(date(2026, 1, 2)) is DayKind.WORKDAY


@pytest.mark.parametrize(
    ("notice", "problem"),
    [
        (Notice(year=2027, off=(), make_up_workdays=()), "it names no day off in its year"),
        (Notice(year=2027, off=(span("2026-12-31"),), make_up_workdays=()), "it names no day off in its year"),
        (
            Notice(year=2027, off=(span("2027-01-01", "2027-01-03"),), make_up_workdays=days("2027-01-02")),
            "a day is both off and a make-up workday",
        ),
        (Notice(year=2027, off=(span("2027-01-01"),), make_up_workdays=days("2027-01-05")), "a make-up workday is a working day anyway"),
        (
            Notice(year=2027, off=(Span(date(2027, 1, 3), date(2027, 1, 1)),), make_up_workdays=()),
            "a span of days off ends before it begins",
        ),
        (Notice(year=2027, off=(span("2027-01-01"), span("2062-01-01")), make_up_workdays=()), "a day is more than a year away from it"),
        (Notice(year=2026, off=(span("2026-01-01"),), make_up_workdays=()), "there are two of them"),
    ],
)
def test_a_notice_that_cannot_be_meant_is_refused(notice: Notice, problem: str) -> None:
    with pytest.raises(InvalidNotice) as invalid:
        calendar(notice)

    assert invalid.value.year == notice.year
    assert invalid.value.problem == problem
