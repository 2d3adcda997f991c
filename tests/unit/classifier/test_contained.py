from __future__ import annotations

import threading

from prometheus_client import CollectorRegistry

from chassis import lifecycle
from services.classifier.adapters.learning import Contained
from services.classifier.telemetry import ClassifierMetrics


class Failing:
    """A component whose fault is a bug."""

    name = "consumer"

    def run(self, stop: threading.Event) -> None:  # noqa: ARG002 - it fails before it looks
        raise RuntimeError


class Recognising:
    """A component that ends the process when it has seen that the other has failed."""

    name = "hot path"

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.went_on = False

    def run(self, stop: threading.Event) -> None:
        while self._registry.get_sample_value("paidan_classifier_learning") != 0 and not stop.wait(0.005):
            pass
        self.went_on = not stop.is_set()


def test_learning_that_fails_is_told_and_ends_nothing_else() -> None:
    registry = CollectorRegistry()
    hot_path = Recognising(registry)

    lifecycle.run([hot_path, Contained(Failing(), ClassifierMetrics(registry))], threading.Event())

    assert hot_path.went_on
    assert registry.get_sample_value("paidan_classifier_learning") == 0
