from __future__ import annotations

import pytest

from chassis.testing import ManualClock
from services.classifier.application.classify import Classify, classify
from services.classifier.application.classify_batch import ClassifyBatch, classify_batch
from services.classifier.application.classify_tickets import ClassifyTicket, classify_tickets
from services.classifier.application.get_model import get_model
from services.classifier.application.list_classes import list_classes
from services.classifier.domain.classification import AbstainReason
from services.classifier.domain.errors import InvalidFieldError, NoModelError
from tests.unit.classifier.builders import LABELS, NOW, FixedModels, recogniser

MODELS = FixedModels(recogniser())


def test_an_answer_names_class_district_values_and_model() -> None:
    answer = classify(MODELS, Classify(text="璧山的厂停电三次，损失86万元"))

    assert answer.classes[0].code == "power_supply"
    assert answer.issues[0] == "power_supply"
    assert answer.district == "500120"
    assert [(slot.key, slot.value) for slot in answer.slots] == [("amount", "860000元")]
    assert answer.model_version == "20261123-abcdef01"


@pytest.mark.parametrize(("top_k", "classes"), [(0, 5), (1, 1), (3, 3), (43, len(LABELS))])
def test_as_many_classes_are_returned_as_asked_for(top_k: int, classes: int) -> None:
    answer = classify(MODELS, Classify(text="停电", top_k=top_k))

    assert len(answer.classes) == classes


@pytest.mark.parametrize("top_k", [-1, 44])
def test_an_impossible_number_of_classes_is_refused(top_k: int) -> None:
    with pytest.raises(InvalidFieldError) as refused:
        classify(MODELS, Classify(text="停电", top_k=top_k))

    assert refused.value.field == "top_k"


def test_a_text_of_the_greatest_length_is_answered_and_a_longer_one_refused() -> None:
    classify(MODELS, Classify(text="电" * 5_000))

    with pytest.raises(InvalidFieldError) as refused:
        classify(MODELS, Classify(text="电" * 5_001))

    assert refused.value.field == "text"
    assert "5,001" in refused.value.description


def test_an_empty_text_is_answered_by_an_abstention() -> None:
    answer = classify(MODELS, Classify(text=""))

    assert answer.abstained
    assert answer.abstain_reason is AbstainReason.TOO_LITTLE


def test_a_batch_is_answered_in_its_order() -> None:
    answers = classify_batch(MODELS, ClassifyBatch(texts=("停电", "国企欠我们工程款", ""), top_k=1))

    assert [answer.classes[0].code for answer in answers[:2]] == ["power_supply", "arrears_payment"]
    assert answers[2].abstained


@pytest.mark.parametrize("count", [0, 257])
def test_a_batch_of_no_texts_or_too_many_is_refused(count: int) -> None:
    with pytest.raises(InvalidFieldError) as refused:
        classify_batch(MODELS, ClassifyBatch(texts=("停电",) * count))

    assert refused.value.field == "texts"


def test_of_a_batch_the_text_that_is_too_long_is_named() -> None:
    with pytest.raises(InvalidFieldError) as refused:
        classify_batch(MODELS, ClassifyBatch(texts=("停电", "电" * 5_001)))

    assert refused.value.field == "texts[1]"


def test_tickets_become_events_in_their_order_also_with_texts_that_are_too_long() -> None:
    clock = ManualClock(NOW)
    commands = [
        ClassifyTicket(cause_id="m1", ticket_id="t1", text="停电" * 5_000),
        ClassifyTicket(cause_id="m2", ticket_id="t2", text=""),
    ]

    events = classify_tickets(MODELS, clock, commands)

    assert [(event.cause_id, event.ticket_id, event.classify_time) for event in events] == [("m1", "t1", NOW), ("m2", "t2", NOW)]
    assert events[0].classification.classes[0].code == "power_supply"
    assert events[1].classification.abstained


def test_the_classes_are_listed_in_the_catalogues_order_with_other_last() -> None:
    classes = list_classes(MODELS)

    assert [each.code for each in classes] == list(LABELS)
    assert classes[0].name_zh == "用电报装与供电保障"


def test_the_model_tells_about_itself() -> None:
    assert get_model(MODELS).policy.threshold == 0.6


def test_without_a_model_nothing_is_answered() -> None:
    empty = FixedModels(None)

    with pytest.raises(NoModelError):
        classify(empty, Classify(text="停电"))
    with pytest.raises(NoModelError):
        list_classes(empty)
