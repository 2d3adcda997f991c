"""What the tests of the SLA service build again and again."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from services.sla.domain.calendar import CalendarVersion, Notice, Span, WorkdayCalendar
from services.sla.domain.clock import SHANGHAI, WorkdayClock
from services.sla.domain.promise import DispatchPromise, ResolutionPromise, Rules

if TYPE_CHECKING:
    from collections.abc import Iterable

NOTICES = Path(__file__).parents[3] / "catalogue" / "calendar" / "notices.json"


def shanghai(text: str) -> datetime:
    """Read a local time, e.g. `2026-11-23T09:00`."""
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI).astimezone(UTC)


def days(*texts: str) -> tuple[date, ...]:
    return tuple(date.fromisoformat(text) for text in texts)


def span(first: str, last: str | None = None) -> Span:
    return Span(*days(first, last or first))


def official_notices() -> list[Notice]:
    return [
        Notice(
            year=int(year),
            off=tuple(span(*pair) for pair in body["off"]),
            make_up_workdays=days(*body["make_up_workdays"]),
        )
        for year, body in json.loads(NOTICES.read_text("utf-8")).items()
    ]


NOTICE_FOR_2027 = Notice(year=2027, off=(span("2027-01-01", "2027-01-03"),), make_up_workdays=days("2027-01-09"))
"""Invented: the real one is not published yet."""


def calendar(*more: Notice, version: str = "official") -> WorkdayCalendar:
    return WorkdayCalendar([*official_notices(), *more], version=CalendarVersion(version))


def calendar_of(notices: Iterable[Notice], version: str = "made-up") -> WorkdayCalendar:
    return WorkdayCalendar(notices, version=CalendarVersion(version))


def rules(calendar_: WorkdayCalendar | None = None, *, close_of_business: time | None = None) -> Rules:
    clock = WorkdayClock(calendar=calendar_ or calendar(), close_of_business=close_of_business)
    return Rules(
        dispatch=DispatchPromise(),
        resolution=ResolutionPromise(clock=clock, at_risk_at=time(9), workdays=3, grace=timedelta(seconds=60)),
    )
