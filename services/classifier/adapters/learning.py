"""The door for outcomes, and the wall around it: learning may fail, recognising may not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from services.classifier.adapters.outcome_events import READING
from services.classifier.application.note_outcome import note_outcome

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from chassis.lifecycle import Component
    from chassis.message import InMessage
    from services.classifier.adapters.sql import SqlLearningUnitOfWork
    from services.classifier.domain.outcomes import Duties
    from services.classifier.telemetry import ClassifierMetrics

log = structlog.get_logger()

GROUP = "paidan-classifier-outcomes"


class OutcomeHandler:
    """Takes in the facts that messages tell."""

    def __init__(self, duties: Duties) -> None:
        self._duties = duties

    def __call__(self, uow: SqlLearningUnitOfWork, messages: Sequence[InMessage]) -> None:
        """Keep what a batch tells.

        Raises:
            InvalidMessage: One can never be understood.
        """
        facts = [fact for message in messages if (fact := READING.decode(message)) is not None]
        uow.outcomes.lock_many({fact.ticket_id for fact in facts})
        for fact in facts:
            note_outcome(uow, self._duties, fact)


class Contained:
    """Runs a component whose failure is no reason to end the others: what it has not done waits for the next start."""

    def __init__(self, component: Component, metrics: ClassifierMetrics) -> None:
        self.name = f"learning-{component.name}"
        self.stops_at_once: bool = getattr(component, "stops_at_once", False)
        self._component = component
        self._metrics = metrics
        metrics.learns(going=True)

    def run(self, stop: threading.Event) -> None:
        """Run the component until `stop` is set; if it fails, say so and wait."""
        try:
            self._component.run(stop)
        except Exception:  # whatever it is: the wall is there for faults that nobody foresaw
            log.exception("learning_failed", component=self.name)
            self._metrics.learns(going=False)
            stop.wait()
