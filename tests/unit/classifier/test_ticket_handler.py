from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from chassis.message import InMessage, InvalidMessage, RetryLater
from chassis.testing import ManualClock
from paidan.classifier.v1 import events_pb2
from paidan.intake.v1 import events_pb2 as intake_pb2
from services.classifier.adapters.kafka import TicketHandler, UnsureHandler
from services.classifier.domain.advice import Advice, AdvicePolicy, Question
from services.classifier.domain.classification import ClassCode
from services.classifier.telemetry import ClassifierMetrics
from tests.unit.classifier.builders import NOW, FixedModels, recogniser
from tests.unit.classifier.test_events import incoming

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chassis.message import OutMessage
    from services.classifier.domain.classification import RequestClass

UNSURE = "厂里一天黑三回,机器开不动"


class FixedAdviser:
    """Gives the same advice to everyone, later."""

    policy = AdvicePolicy("some-model", threshold=0.9)

    def __init__(self, clock: ManualClock, given: Advice | None) -> None:
        self.asked: list[Question] = []
        self._clock = clock
        self._given = given

    def advise(self, questions: Sequence[Question], classes: Sequence[RequestClass]) -> list[Advice | None]:
        assert [each.code for each in classes] == [each.code for each in recogniser().classes]
        self.asked += questions
        self._clock.advance(timedelta(seconds=2))
        return [self._given] * len(questions)


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


def told_by(messages: Sequence[OutMessage]) -> list[events_pb2.TicketClassified]:
    return [events_pb2.TicketClassified.FromString(message.data) for message in messages]


def test_with_somebody_to_ask_what_is_unsure_is_passed_on_as_the_same_event_and_counted_there() -> None:
    registry = CollectorRegistry()
    passing_on = TicketHandler(FixedModels(recogniser()), ManualClock(), ClassifierMetrics(registry), pass_on_unsure=True)

    sure, unsure = passing_on([submitted("t1", "停电"), submitted("t2", UNSURE)])

    assert (sure.topic, unsure.topic) == ("classifier.classifications.v1", "classifier.unsure.v1")
    assert (unsure.id, unsure.type) == ("message of t2", "paidan.intake.v1.TicketSubmitted")
    assert unsure.data == submitted("t2", UNSURE).data
    assert registry.get_sample_value("paidan_classifier_text_seconds_count") == 1
    assert registry.get_sample_value("paidan_classifier_abstained_total", {"reason": "out_of_scope"}) == 0


def test_advice_that_is_believed_is_told_as_an_answer_that_names_who_gave_it() -> None:
    registry, clock = CollectorRegistry(), ManualClock(NOW)
    adviser = FixedAdviser(clock, Advice(ClassCode("power_supply"), 0.95, 2, 7))

    messages = UnsureHandler(FixedModels(recogniser()), clock, adviser, ClassifierMetrics(registry))([submitted("t1", UNSURE)])

    (payload,) = told_by(messages)
    assert [(each.text, each.submit_time) for each in adviser.asked] == [(UNSURE, NOW)]
    assert (payload.classification.classes[0].class_code, payload.classification.abstained) == ("power_supply", False)
    assert payload.classification.model_version == "20261123-abcdef01+some-model"
    assert payload.classify_time.ToDatetime(NOW.tzinfo) == NOW + timedelta(seconds=2)
    assert registry.get_sample_value("paidan_classifier_advised_total", {"effect": "answered"}) == 1


def test_without_usable_advice_the_models_own_answer_is_told() -> None:
    clock = ManualClock(NOW)
    unsure = UnsureHandler(FixedModels(recogniser()), clock, FixedAdviser(clock, None), ClassifierMetrics(CollectorRegistry()))

    (payload,) = told_by(unsure([submitted("t1", UNSURE)]))

    assert payload.classification.abstained
    assert payload.classification.model_version == "20261123-abcdef01"


def test_a_repetition_carries_the_same_id_though_the_advice_is_another() -> None:
    clock = ManualClock(NOW)
    advice = [Advice(ClassCode("power_supply"), 0.95, 2, 7), Advice(ClassCode("loan_financing"), 0.7, 0, 2), None]

    ids = {
        UnsureHandler(FixedModels(recogniser()), clock, FixedAdviser(clock, each), ClassifierMetrics(CollectorRegistry()))(
            [submitted("t1", UNSURE)]
        )[0].id
        for each in advice
    }

    assert ids == {handler(CollectorRegistry())([submitted("t1", UNSURE)])[0].id}


def test_nobody_is_asked_about_what_is_sure_meanwhile_or_holds_nothing() -> None:
    clock = ManualClock(NOW)
    adviser = FixedAdviser(clock, None)

    UnsureHandler(FixedModels(recogniser()), clock, adviser, ClassifierMetrics(CollectorRegistry()))(
        [submitted("t1", "停电"), submitted("t2", "？")]
    )

    assert adviser.asked == []


def test_what_is_unsure_waits_for_a_model_too() -> None:
    clock = ManualClock(NOW)
    unsure = UnsureHandler(FixedModels(None), clock, FixedAdviser(clock, None), ClassifierMetrics(CollectorRegistry()))

    with pytest.raises(RetryLater):
        unsure([submitted("t1", UNSURE)])
