"""The dispatcher's metrics, each once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

from chassis.metrics import LATENCY_BUCKETS
from services.dispatcher.domain import events
from services.dispatcher.domain.values import Method, ReturnReason, TriageReason

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from services.dispatcher.domain.events import Event


class DispatcherMetrics:
    """What the dispatcher counts beyond the chassis. Unit and class are counted apart: crossed they would be thousands of series."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.dispatched = Counter(
            "paidan_dispatcher_dispatches",
            "Assignments of a ticket to a lead unit, by who or what chose it; FALLBACK is the duty desk.",
            ["method"],
            registry=registry,
        )
        self.by_unit = Counter("paidan_dispatcher_dispatches_by_unit", "Assignments, by lead unit.", ["unit"], registry=registry)
        self.by_class = Counter(
            "paidan_dispatcher_dispatches_by_class",
            "Assignments, by the class that decided; empty if none.",
            ["class_code"],
            registry=registry,
        )
        self.latency = Histogram(
            "paidan_dispatcher_dispatch_seconds",
            "Time from a ticket's submission to its first assignment, in seconds.",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.triaged = Counter("paidan_dispatcher_triaged", "Tickets sent to the desk, by reason.", ["reason"], registry=registry)
        self.triage_waiting = Gauge(
            "paidan_dispatcher_triage_waiting",
            "Tickets that wait for a decision of the desk, those held by the duty desk included; every replica tells the same.",
            registry=registry,
        )
        self.unsubmitted = Gauge(
            "paidan_dispatcher_unsubmitted",
            "Tickets of which something was heard, but not their submission; every replica tells the same.",
            registry=registry,
        )
        self.accepted = Counter("paidan_dispatcher_accepted", "Assignments that the lead unit signed for.", registry=registry)
        self.returned = Counter("paidan_dispatcher_returns", "Returns, by reason.", ["reason"], registry=registry)
        self.resolved = Counter("paidan_dispatcher_resolved", "Tickets that a unit resolved.", registry=registry)
        self.refused_receipts = Counter(
            "paidan_dispatcher_receipts_refused",
            "Receipts of units that were refused, by reason; UNREADABLE and INVALID_FIELD are dead letters too.",
            ["reason"],
            registry=registry,
        )
        # What has not happened yet is told as 0: a query that divides by it, or sums it, has an answer.
        for counter, kinds in ((self.dispatched, Method), (self.triaged, TriageReason), (self.returned, ReturnReason)):
            for kind in kinds:
                counter.labels(kind.value)

    def count(self, event: Event) -> None:
        """Count what happened; call after it was committed."""
        match event:
            case events.LeadAssigned(assignment=assignment):
                self.dispatched.labels(assignment.method.value).inc()
                self.by_unit.labels(assignment.lead).inc()
                self.by_class.labels(assignment.class_code or "").inc()
                if assignment.epoch == 1:
                    self.latency.observe(max(0.0, (event.time - event.ticket.submit_time).total_seconds()))
            case events.SentToTriage(triage=triage):
                self.triaged.labels(triage.reason.value).inc()
            case events.LeadAccepted():
                self.accepted.inc()
            case events.LeadReturned(reason=reason):
                self.returned.labels(reason.value).inc()
            case events.LeadResolved():
                self.resolved.inc()
            case _:
                pass
