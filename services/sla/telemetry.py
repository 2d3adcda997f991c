"""The SLA service's metrics, each once."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

from chassis.metrics import LATENCY_BUCKETS
from services.sla.domain.clock import SHANGHAI
from services.sla.domain.deadline import Tally
from services.sla.domain.promise import Kind
from services.sla.domain.replay import Change, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from prometheus_client import CollectorRegistry

    from services.sla.domain.calendar import WorkdayCalendar
    from services.sla.domain.deadline import Deadline, DeadlineChanged


class SlaMetrics:
    """What the SLA service counts beyond the chassis."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._outcomes = Counter(
            "paidan_sla_deadlines",
            "Deadlines by kind (`dispatch`, `resolution`) and outcome (`met`, `breached`, `cancelled`).",
            ["kind", "outcome"],
            registry=registry,
        )
        self._announcements = Counter(
            "paidan_sla_announcements",
            "Changes of deadlines announced, by kind and change (`set`, `paused`, `resumed`, `extended`, `at_risk` and the outcomes).",
            ["kind", "change"],
            registry=registry,
        )
        self._open = Gauge(
            "paidan_sla_open_deadlines",
            "Open deadlines of the whole city by kind and state: `running`, `paused`, `overdue` (breached, not finished yet) and "
            "`pending_calendar` (no due time until the notice for a year is there). Every replica tells the same: use max.",
            ["kind", "state"],
            registry=registry,
        )
        self._dispatch_seconds = Histogram(
            "paidan_sla_dispatch_seconds",
            "Time from a submission or reopening to the push to the unit, by the broker's record of it, in seconds; the promise is 60.",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self._known_until_lag = Gauge(
            "paidan_sla_known_until_lag_seconds",
            "Age of the instant up to which every message is known, in seconds; nothing later is announced as at risk or breached. "
            "NaN: no such instant yet.",
            registry=registry,
        )
        self._calendar_end = Gauge(
            "paidan_sla_calendar_end_timestamp_seconds",
            "End of the last day that the workday calendar knows, in Unix seconds; its version is the label.",
            ["version"],
            registry=registry,
        )
        # What has not happened yet is told as 0: a query that divides by it, or sums it, has an answer.
        for kind in Kind:
            for outcome in (State.MET, State.BREACHED, State.CANCELLED):
                self._outcomes.labels(kind.value, outcome.value)
            for change in Change:
                self._announcements.labels(kind.value, change.value)
        self.tell_known_until(None, datetime.now(UTC))

    def count(self, announced: Iterable[DeadlineChanged], changed: Iterable[tuple[Deadline | None, Deadline]]) -> None:
        """Count what a committed transaction announced and changed; `changed` holds deadlines as they were and as they are."""
        for each in announced:
            self._announcements.labels(each.deadline.kind.value, each.change.value).inc()
        for before, now in changed:
            if now.state.is_final and (before is None or not before.state.is_final):
                self._outcomes.labels(now.kind.value, now.state.value).inc()
            if now.kind is Kind.DISPATCH and now.finish_time is not None and (before is None or before.finish_time is None):
                self._dispatch_seconds.observe(max(0.0, (now.finish_time - now.start_time).total_seconds()))

    def tell_open(self, tallies: Mapping[tuple[Kind, Tally], int]) -> None:
        """Tell how many deadlines are open."""
        for kind in Kind:
            for tally in Tally:
                self._open.labels(kind.value, tally.value).set(tallies.get((kind, tally), 0))

    def tell_known_until(self, known_until: datetime | None, now: datetime) -> None:
        """Tell up to when everything is known."""
        self._known_until_lag.set(float("nan") if known_until is None else (now - known_until).total_seconds())

    def tell_calendar(self, calendar: WorkdayCalendar) -> None:
        """Tell which calendar is in force."""
        self._calendar_end.clear()
        self._calendar_end.labels(calendar.version).set(datetime.combine(calendar.end, time.min, SHANGHAI).timestamp())
