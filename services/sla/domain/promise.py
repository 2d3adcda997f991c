"""What is promised, and when a promise comes near and is broken."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, time

    from services.sla.domain.calendar import CalendarVersion
    from services.sla.domain.clock import Pause, WorkdayClock


class Kind(StrEnum):
    """Which promise; the order is that of lists."""

    DISPATCH = "dispatch"
    RESOLUTION = "resolution"


class Promise(Protocol):
    """One of the promises made with every ticket."""

    @property
    def grace(self) -> timedelta:
        """How long after the due time word of what happened before it may still come."""
        ...

    def due(self, start: datetime, pauses: Sequence[Pause], extension_workdays: int) -> datetime | None:
        """Return when it is due: the first instant that is too late; None while it is paused.

        Raises:
            CalendarUnknown: The counting needs a year without a notice.
        """
        ...

    def earliest_due(self, start: datetime, extension_workdays: int) -> datetime:
        """Return an instant before which it is surely not due, whatever the calendar says."""
        ...

    def at_risk(self, due: datetime) -> datetime:
        """Return the instant from which a due time is near."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchPromise:
    """From submission to the push to the unit, by the wall clock; nothing pauses or extends it.

    Attributes:
        within: Time allowed.
        at_risk_after: Time after which it is near; less than `within`.
        grace: See `Promise`.
    """

    within: timedelta = timedelta(seconds=60)
    at_risk_after: timedelta = timedelta(seconds=45)
    grace: timedelta = timedelta(seconds=5)

    def due(self, start: datetime, _pauses: Sequence[Pause], _extension_workdays: int) -> datetime:
        """Return when it is due."""
        return start + self.within

    def earliest_due(self, start: datetime, _extension_workdays: int) -> datetime:
        """Return when it is due."""
        return start + self.within

    def at_risk(self, due: datetime) -> datetime:
        """Return the instant from which it is near."""
        return due - self.within + self.at_risk_after


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolutionPromise:
    """From submission to resolution, in whole workdays.

    Attributes:
        clock: Counts workdays.
        at_risk_at: Local time on the last workday from which it is near.
        workdays: How many are allowed.
        grace: See `Promise`.
    """

    clock: WorkdayClock
    at_risk_at: time
    workdays: int = 3
    grace: timedelta = timedelta(seconds=60)

    def due(self, start: datetime, pauses: Sequence[Pause], extension_workdays: int) -> datetime | None:
        """Return when it is due; None while it is paused."""
        return self.clock.due(start, self.workdays + extension_workdays, pauses)

    def earliest_due(self, start: datetime, extension_workdays: int) -> datetime:
        """Return an instant before which it is surely not due."""
        return self.clock.earliest_due(start, self.workdays + extension_workdays)

    def at_risk(self, due: datetime) -> datetime:
        """Return the instant from which it is near."""
        return self.clock.moment_of_last_workday(due, self.at_risk_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """All that deadlines are judged by.

    Attributes:
        dispatch: The minute.
        resolution: The three workdays.
    """

    dispatch: DispatchPromise
    resolution: ResolutionPromise

    @property
    def calendar_version(self) -> CalendarVersion:
        """Version of the calendar."""
        return self.resolution.clock.calendar.version

    def of(self, kind: Kind) -> Promise:
        """Return the promise of a kind."""
        return self.dispatch if kind is Kind.DISPATCH else self.resolution
