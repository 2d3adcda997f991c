"""Intake's metrics, each once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Histogram

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


class IntakeMetrics:
    """What intake counts beyond the chassis."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.submitted = Counter(
            "paidan_intake_tickets_submitted",
            "Requests stored, by portal and channel.",
            ["portal", "channel"],
            registry=registry,
        )
        self.repeated = Counter(
            "paidan_intake_requests_repeated",
            "Submissions whose request was known already.",
            registry=registry,
        )
        self.group_size = Histogram(
            "paidan_intake_submit_group_requests",
            "Submissions that shared a transaction.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=registry,
        )
        self.closed = Counter("paidan_intake_tickets_closed", "Tickets closed because nobody disputed the result.", registry=registry)
