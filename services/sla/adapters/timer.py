"""The door for time: what comes near and what is past due, calendars, gauges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.sla.application.apply_calendar import ApplyCalendar, activate_calendar, apply_calendar
from services.sla.application.tick_due import TickDue, tick_due

if TYPE_CHECKING:
    from collections.abc import Callable

    from chassis.clock import Clock
    from services.sla.adapters.calendar import FollowedRules
    from services.sla.adapters.horizon import Horizon
    from services.sla.adapters.sql import SlaUnitOfWork, SqlDeadlineReader
    from services.sla.domain.calendar import CalendarVersion
    from services.sla.telemetry import SlaMetrics


class DueTick:
    """Looks at due times."""

    def __init__(
        self,
        open_unit_of_work: Callable[[], SlaUnitOfWork],
        horizon: Horizon,
        clock: Clock,
        metrics: SlaMetrics,
        *,
        batch: int,
    ) -> None:
        self._open = open_unit_of_work
        self._horizon = horizon
        self._clock = clock
        self._metrics = metrics
        self._batch = batch

    def __call__(self) -> int:
        """Judge one batch; returns how many tickets were looked at."""
        known_until, now = self._horizon.known_until(), self._clock.now()
        self._metrics.tell_known_until(known_until, now)
        if known_until is None:
            return 0
        with self._open() as uow:
            looked_at = tick_due(uow, TickDue(known_until=known_until, now=now, size=self._batch))
            uow.commit()
        return looked_at


class CalendarTick:
    """Follows the file of notices, and computes anew what another calendar computed."""

    def __init__(
        self,
        open_unit_of_work: Callable[[], SlaUnitOfWork],
        rules: FollowedRules,
        clock: Clock,
        metrics: SlaMetrics,
        *,
        batch: int,
    ) -> None:
        self._open = open_unit_of_work
        self._rules = rules
        self._clock = clock
        self._metrics = metrics
        self._batch = batch
        self._activated: CalendarVersion | None = None

    def __call__(self) -> int:
        """Take up a new calendar, and compute one batch; returns how many tickets were computed."""
        self._rules.follow()
        with self._open() as uow:
            version = uow.rules.calendar_version
            if version != self._activated:
                activate_calendar(uow, self._clock.now())
            computed = apply_calendar(uow, ApplyCalendar(now=self._clock.now(), size=self._batch))
            uow.commit()
        self._activated = version
        self._metrics.tell_calendar(uow.rules.resolution.clock.calendar)
        return computed


class TallyTick:
    """Keeps the gauges of open deadlines."""

    def __init__(self, reader: SqlDeadlineReader, metrics: SlaMetrics) -> None:
        self._reader = reader
        self._metrics = metrics

    def __call__(self) -> int:
        """Read the tallies."""
        self._metrics.tell_open(self._reader.tallies())
        return 0
