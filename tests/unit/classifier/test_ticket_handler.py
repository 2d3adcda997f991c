from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from chassis.message import InMessage, InvalidMessage, RetryLater
from chassis.testing import ManualClock
from paidan.classifier.v1 import events_pb2
from paidan.intake.v1 import events_pb2 as intake_pb2
from services.classifier.adapters.kafka import TicketHandler
from services.classifier.telemetry import ClassifierMetrics
from tests.unit.classifier.builders import FixedModels, recogniser
from tests.unit.classifier.test_events import incoming


def submitted(ticket_id: str, text: str) -> InMessage:
    data = intake_pb2.TicketSubmitted(ticket_id=ticket_id, text=text).SerializeToString()
    return incoming(data, message_id=f"message of {ticket_id}")


def handler(registry: CollectorRegistry, models: FixedModels | None = None) -> TicketHandler:
    return TicketHandler(models or FixedModels(recogniser()), ManualClock(), ClassifierMetrics(registry))


def test_every_submission_of_a_batch_is_told_and_nothing_else() -> None:
    registry = CollectorRegistry()
    withdrawn = incoming(b"", kind="paidan.intake.v1.TicketWithdrawn")

    told = handler(registry)([submitted("t1", "停电"), withdrawn, submitted("t2", "")])

    payloads = [events_pb2.TicketClassified.FromString(message.data) for message in told]
    assert [payload.ticket_id for payload in payloads] == ["t1", "t2"]
    assert payloads[0].classification.classes[0].class_code == "power_supply"
    assert [message.traceparent for message in told] == [withdrawn.traceparent] * 2
    assert registry.get_sample_value("paidan_classifier_classified_total", {"class_code": "power_supply"}) == 1
    assert registry.get_sample_value("paidan_classifier_abstained_total", {"reason": "too_little"}) == 1
    assert registry.get_sample_value("paidan_classifier_text_seconds_count") == 2


def test_a_batch_without_submissions_needs_no_model() -> None:
    told = handler(CollectorRegistry(), FixedModels(None))([incoming(b"", kind="paidan.intake.v1.TicketClosed")])

    assert told == []


def test_a_batch_waits_for_a_model() -> None:
    with pytest.raises(RetryLater):
        handler(CollectorRegistry(), FixedModels(None))([submitted("t1", "停电")])


def test_garbage_is_never_understood() -> None:
    with pytest.raises(InvalidMessage):
        handler(CollectorRegistry())([submitted("t1", "停电"), incoming(b"\xff\xff")])
