"""The door for time: what comes near and what is past due, calendars, gauges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.sla.application.apply_calendar import ApplyCalendar, activate_calendar, apply_calendar
from services.sla.application.ports import Chosen
from services.sla.application.tick_due import TickDue, tick_due
from services.sla.domain.deadline import TicketId

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from chassis.clock import Clock
    from services.sla.adapters.calendar import FollowedRules
    from services.sla.adapters.horizon import Horizon
    from services.sla.adapters.sql import SlaUnitOfWork, SqlDeadlineReader
    from services.sla.domain.calendar import CalendarVersion
    from services.sla.telemetry import SlaMetrics


class DueDeadlines:
    """Tickets whose due times need a check: `chassis.due_items.DueItems`."""

    def __init__(self, open_unit_of_work: Callable[[], SlaUnitOfWork], horizon: Horizon, clock: Clock, metrics: SlaMetrics) -> None:
        self._open = open_unit_of_work
        self._horizon = horizon
        self._clock = clock
        self._metrics = metrics

    def act(self, size: int, *, without: Collection[str] = (), only: str | None = None) -> int:
        """See `DueItems.act`. Does nothing while the consumed offsets are unknown."""
        known_until, now = self._horizon.known_until(), self._clock.now()
        self._metrics.tell_known_until(known_until, now)
        if known_until is None:
            return 0
        with self._open() as uow:
            looked_at = tick_due(uow, TickDue(known_until=known_until, now=now, size=size, chosen=_chosen(without, only)))
            uow.commit()
        return looked_at

    def ids(self, size: int, *, without: Collection[str] = ()) -> Sequence[str]:
        """See `DueItems.ids`."""
        known_until = self._horizon.known_until()
        if known_until is None:
            return []
        with self._open() as uow:
            return uow.tickets.due_ids(known_until, size, _chosen(without))


class OutdatedDeadlines:
    """Tickets whose due times another calendar computed: `chassis.due_items.DueItems`. Follows the file of notices too."""

    def __init__(self, open_unit_of_work: Callable[[], SlaUnitOfWork], rules: FollowedRules, clock: Clock, metrics: SlaMetrics) -> None:
        self._open = open_unit_of_work
        self._rules = rules
        self._clock = clock
        self._metrics = metrics
        self._activated: CalendarVersion | None = None

    def act(self, size: int, *, without: Collection[str] = (), only: str | None = None) -> int:
        """Load a new calendar if there is one, and recompute one batch; see `DueItems.act`."""
        self._rules.follow()
        with self._open() as uow:
            version = uow.rules.calendar_version
            if version != self._activated:
                activate_calendar(uow, self._clock.now())
            computed = apply_calendar(uow, ApplyCalendar(now=self._clock.now(), size=size, chosen=_chosen(without, only)))
            uow.commit()
        self._activated = version
        self._metrics.tell_calendar(uow.rules.resolution.clock.calendar)
        return computed

    def ids(self, size: int, *, without: Collection[str] = ()) -> Sequence[str]:
        """See `DueItems.ids`."""
        with self._open() as uow:
            return uow.tickets.ids_computed_otherwise(uow.rules.calendar_version, size, _chosen(without))


def _chosen(without: Collection[str], only: str | None = None) -> Chosen:
    return Chosen(without=[TicketId(ticket_id) for ticket_id in without], only=None if only is None else TicketId(only))


class TallyTick:
    """Keeps the gauges of open deadlines."""

    def __init__(self, reader: SqlDeadlineReader, metrics: SlaMetrics) -> None:
        self._reader = reader
        self._metrics = metrics

    def __call__(self) -> int:
        """Read the tallies."""
        self._metrics.tell_open(self._reader.tallies())
        return 0
