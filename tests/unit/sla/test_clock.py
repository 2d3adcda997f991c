from __future__ import annotations

import csv
from datetime import UTC, datetime, time
from pathlib import Path

import pytest

from services.sla.domain.clock import Pause, WorkdayClock
from services.sla.domain.errors import CalendarUnknown
from tests.unit.sla.builders import NOTICE_FOR_2027, calendar, shanghai

VECTORS = list(csv.DictReader((Path(__file__).parent / "vectors.csv").read_text("utf-8").splitlines()))
CLOCK = WorkdayClock(calendar=calendar())
OFFICE = WorkdayClock(calendar=calendar(), close_of_business=time(18))


def pauses(text: str) -> list[Pause]:
    """Read `from/until` spans, separated by spaces; one without an end lasts."""
    spans = [each.partition("/") for each in text.split()]
    return [Pause(shanghai(first), shanghai(last) if last else None) for first, _, last in spans]


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["note"] for vector in VECTORS])
def test_the_published_vectors_hold(vector: dict[str, str]) -> None:
    due = CLOCK.due(shanghai(vector["submitted"]), 3 + int(vector["extension_workdays"]), pauses(vector["pauses"]))

    assert due == shanghai(vector["due_exclusive"])


def test_a_due_time_is_given_in_utc() -> None:
    due = CLOCK.due(shanghai("2026-11-23T09:00"), 3)

    assert due == datetime(2026, 11, 26, 16, tzinfo=UTC)
    assert due.tzinfo is UTC


@pytest.mark.parametrize(
    ("submitted", "paused", "due"),
    [
        ("2026-03-10T10:00", "2026-03-11T09:00/2026-03-11T17:00", "2026-03-14T00:00"),  # back before the day's end: nothing lost
        ("2026-03-10T10:00", "2026-03-11T17:00/2026-03-12T01:00", "2026-03-17T00:00"),  # over one end of a workday
        ("2026-03-10T10:00", "2026-03-10T11:00/2026-03-10T12:00", "2026-03-14T00:00"),  # on the uncounted day
        ("2026-03-10T10:00", "2026-03-10T11:00/2026-03-11T09:00", "2026-03-14T00:00"),  # over the uncounted day's end
        ("2026-03-10T10:00", "2026-03-12T00:00/2026-03-12T09:00", "2026-03-17T00:00"),  # begins exactly at the end of day 1
        ("2026-03-10T10:00", "2026-03-11T09:00/2026-03-12T00:00", "2026-03-14T00:00"),  # ends exactly at the end of day 1
        ("2026-03-10T10:00", "2026-03-14T00:00/2026-03-14T10:00", "2026-03-17T00:00"),  # begins exactly when it would be due
        ("2026-03-10T10:00", "2026-03-14T00:01/2026-03-20T10:00", "2026-03-14T00:00"),  # after it was due: too late
        ("2026-03-10T10:00", "2026-03-11T09:00/2026-03-13T09:00 2026-03-13T10:00/2026-03-14T10:00", "2026-03-19T00:00"),
        ("2026-09-29T10:00", "2026-09-30T10:00/2026-10-08T09:00", "2026-10-11T00:00"),  # over National Day; Saturday is made up
    ],
)
def test_a_workday_is_consumed_only_if_the_clock_runs_at_its_end(submitted: str, paused: str, due: str) -> None:
    assert CLOCK.due(shanghai(submitted), 3, pauses(paused)) == shanghai(due)


def test_a_paused_clock_has_no_due_time() -> None:
    assert CLOCK.due(shanghai("2026-03-10T10:00"), 3, pauses("2026-03-11T09:00")) is None


def test_a_clock_that_must_count_on_into_an_unknown_year_says_so() -> None:
    with pytest.raises(CalendarUnknown) as unknown:
        CLOCK.due(shanghai("2026-12-29T10:00"), 3)

    assert unknown.value.year == 2027


def test_a_clock_that_is_due_at_the_end_of_the_known_year_needs_no_more() -> None:
    assert CLOCK.due(shanghai("2026-12-28T23:59"), 3) == shanghai("2027-01-01T00:00")


def test_a_paused_clock_needs_no_calendar_of_the_next_year() -> None:
    assert CLOCK.due(shanghai("2026-12-29T10:00"), 3, pauses("2026-12-30T10:00")) is None


def test_a_clock_counts_on_once_the_notice_is_there() -> None:
    known = WorkdayClock(calendar=calendar(NOTICE_FOR_2027))

    assert known.due(shanghai("2026-12-29T10:00"), 3) == shanghai("2027-01-05T00:00")


def test_the_day_of_submission_itself_may_lie_in_an_unknown_year() -> None:
    assert CLOCK.due(shanghai("2024-12-31T10:00"), 3) == shanghai("2025-01-07T00:00")


@pytest.mark.parametrize(
    ("submitted", "due"),
    [
        ("2026-11-23T09:00", "2026-11-26T18:00"),
        ("2026-11-23T06:00", "2026-11-26T18:00"),
        ("2026-11-23T17:59", "2026-11-26T18:00"),
        ("2026-11-23T18:00", "2026-11-27T18:00"),  # after business: received on Tuesday
        ("2026-11-28T10:00", "2026-12-03T18:00"),  # Saturday: received on Monday
        ("2026-02-14T10:00", "2026-02-26T18:00"),  # a make-up Saturday is a workday
        ("2026-02-14T19:00", "2026-02-27T18:00"),  # after it: received after Spring Festival
    ],
)
def test_with_a_close_of_business_late_submissions_are_received_the_next_workday(submitted: str, due: str) -> None:
    assert OFFICE.due(shanghai(submitted), 3) == shanghai(due)


@pytest.mark.parametrize(
    ("paused", "due"),
    [
        ("2026-11-24T09:00/2026-11-24T17:59", "2026-11-26T18:00"),
        ("2026-11-24T17:59/2026-11-24T18:30", "2026-11-27T18:00"),
        ("2026-11-24T18:01/2026-11-25T09:00", "2026-11-26T18:00"),
    ],
)
def test_with_a_close_of_business_a_workday_is_consumed_if_the_clock_runs_then(paused: str, due: str) -> None:
    assert OFFICE.due(shanghai("2026-11-23T09:00"), 3, pauses(paused)) == shanghai(due)


@pytest.mark.parametrize(("clock", "due"), [(CLOCK, "2026-11-27T00:00"), (OFFICE, "2026-11-26T18:00")], ids=["midnight", "office"])
def test_the_last_workday_is_the_one_that_the_due_time_ends(clock: WorkdayClock, due: str) -> None:
    assert clock.moment_of_last_workday(shanghai(due), time(9)) == shanghai("2026-11-26T09:00")


def test_no_calendar_can_make_a_clock_due_before_its_earliest_time() -> None:
    assert CLOCK.earliest_due(shanghai("2026-12-30T10:00"), 3) == shanghai("2027-01-03T00:00")
    assert OFFICE.earliest_due(shanghai("2026-12-30T10:00"), 3) == shanghai("2027-01-02T18:00")
