"""The clock against a walker that goes from day to day and knows nothing of arrays."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from services.sla.domain.calendar import CalendarVersion, Notice, Span, WorkdayCalendar
from services.sla.domain.clock import SHANGHAI, Pause, WorkdayClock
from services.sla.domain.errors import CalendarUnknown

DAY = timedelta(days=1)
FIRST_YEAR, LAST_YEAR = 2023, 2025


@st.composite
def notices(draw: st.DrawFn) -> list[Notice]:
    """Draw notices for three years, one of which may be missing."""
    years = draw(st.sampled_from([(2023, 2024, 2025), (2024, 2025), (2023, 2025), (2024,)]))
    return [draw(notice(year)) for year in years]


@st.composite
def notice(draw: st.DrawFn, year: int) -> Notice:
    starts = draw(st.lists(st.integers(0, 350), min_size=1, max_size=8, unique=True))
    off = tuple(Span(date(year, 1, 1) + n * DAY, date(year, 1, 1) + (n + draw(st.integers(0, 8))) * DAY) for n in starts)
    free = {day for each in off for day in each}
    weekends = [day for day in Span(date(year, 1, 1), date(year, 12, 31)) if day.weekday() >= 5 and day not in free]
    return Notice(year=year, off=off, make_up_workdays=tuple(draw(st.lists(st.sampled_from(weekends), max_size=8, unique=True))))


def instants() -> st.SearchStrategy[datetime]:
    """Draw instants of three years and a little, often exactly at the end of a day or of business."""
    anywhere = st.datetimes(datetime(2022, 12, 20), datetime(2026, 1, 15))  # noqa: DTZ001 - the zone is set below
    sharp = st.builds(datetime.combine, st.dates(date(2022, 12, 20), date(2026, 1, 15)), st.sampled_from([time(0), time(18), time(9)]))
    return st.one_of(anywhere, sharp).map(lambda local: local.replace(tzinfo=SHANGHAI).astimezone(UTC))


@st.composite
def pauses_after(draw: st.DrawFn, start: datetime) -> list[Pause]:
    gaps = draw(st.lists(st.timedeltas(timedelta(0), 6 * DAY), max_size=8))
    instant, edges = start, []
    for gap in gaps:
        instant += gap
        if draw(st.booleans()):
            instant = datetime.combine(instant.astimezone(SHANGHAI).date() + DAY, time(0), SHANGHAI).astimezone(UTC)
        edges.append(instant)
    last = [Pause(edges.pop())] if len(edges) % 2 else []
    return [Pause(*pair) for pair in zip(edges[::2], edges[1::2], strict=True)] + last


class Walker:
    """Goes from day to day."""

    def __init__(self, given_notices: list[Notice]) -> None:
        self.years = {each.year for each in given_notices}
        self.notices = sorted(given_notices, key=lambda each: each.year)

    def works(self, day: date) -> bool:
        if day.year not in self.years:
            raise CalendarUnknown(day.year)
        answer = day.weekday() < 5
        for each in self.notices:
            if any(span.first <= day <= span.last for span in each.off):
                answer = False
            if day in each.make_up_workdays:
                answer = True
        return answer

    def due(self, start: datetime, workdays: int, pauses: list[Pause], close: time | None) -> datetime | None:
        day = start.astimezone(SHANGHAI).date()
        if close is not None:
            if start.astimezone(SHANGHAI).time() >= close:
                day += DAY
            while not self.works(day):
                day += DAY
        left = workdays
        while True:
            day += DAY
            end = datetime.combine(day, close, SHANGHAI) if close else datetime.combine(day + DAY, time(0), SHANGHAI)
            if any(pause.resume_time is None and pause.pause_time <= end for pause in pauses):
                return None
            standing_still = any(pause.pause_time <= end and pause.resume_time is not None and end < pause.resume_time for pause in pauses)
            left -= 1 if not standing_still and self.works(day) else 0
            if left == 0:
                return end


def outcome(compute: object, *arguments: object) -> object:
    try:
        return compute(*arguments)  # type: ignore[operator]
    except CalendarUnknown as unknown:
        return unknown.year


@settings(max_examples=600, deadline=None)
@given(data=st.data(), given_notices=notices(), start=instants(), workdays=st.integers(1, 25))
def test_the_clock_agrees_with_a_walker(data: st.DataObject, given_notices: list[Notice], start: datetime, workdays: int) -> None:
    pauses = data.draw(pauses_after(start))
    close = data.draw(st.sampled_from([None, time(18)]))
    clock = WorkdayClock(calendar=WorkdayCalendar(given_notices, version=CalendarVersion("drawn")), close_of_business=close)
    walker = Walker(given_notices)

    found = outcome(clock.due, start, workdays, pauses)

    assert found == outcome(walker.due, start, workdays, pauses, close)


@settings(deadline=None)
@given(given_notices=notices(), first=st.dates(date(2023, 1, 1), date(2025, 12, 31)), n=st.integers(1, 300))
def test_the_nth_workday_is_the_first_day_by_which_n_were_counted(given_notices: list[Notice], first: date, n: int) -> None:
    calendar = WorkdayCalendar(given_notices, version=CalendarVersion("drawn"))

    day = outcome(calendar.nth_workday, first, n)

    if isinstance(day, int):
        assert not calendar.knows(day)
        assert day >= first.year
        return
    assert isinstance(day, date)
    assert calendar.is_workday(day)
    assert calendar.count(first, day, at_most=n) == n - 1
    assert calendar.count(first, day + DAY, at_most=n) == n


@settings(deadline=None)
@given(start=instants(), workdays=st.integers(1, 20), later=st.timedeltas(timedelta(0), 10 * DAY))
def test_a_later_start_or_more_workdays_are_never_due_earlier(start: datetime, workdays: int, later: timedelta) -> None:
    made_up = [Notice(year=year, off=(Span(date(year, 1, 1), date(year, 1, 3)),), make_up_workdays=()) for year in range(2022, 2028)]
    clock = WorkdayClock(calendar=WorkdayCalendar(made_up, version=CalendarVersion("made-up")))

    due = clock.due(start, workdays)

    assert due is not None
    assert due <= (clock.due(start + later, workdays) or due)
    assert due < (clock.due(start, workdays + 1) or due)
    assert clock.earliest_due(start, workdays) <= due
