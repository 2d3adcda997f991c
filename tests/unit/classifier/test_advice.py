from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from services.classifier.domain.advice import Advice, AdvicePolicy, AdviceRefusedError, advised, question, read_advice
from services.classifier.domain.classification import AbstainReason, ClassCode, Classification
from tests.unit.classifier.builders import classification

ASKED = "厂里一天黑三回,机器开不动,电话00000000000"
CODES = {"power_supply", "loan_financing", "other"}
RIGHT: dict[str, Any] = {"class": "power_supply", "confidence": 0.95, "evidence": "一天黑三回"}
POLICY = AdvicePolicy("some-model", threshold=0.9)


def unsure() -> Classification:
    ranked = [("other", 0.5), ("power_supply", 0.3), ("arrears_payment", 0.1), ("loan_financing", 0.06), ("eia_emission", 0.04)]
    return dataclasses.replace(classification(ranked), abstain_reason=AbstainReason.OUT_OF_SCOPE)


def advice(code: str, confidence: float) -> Advice:
    return Advice(ClassCode(code), confidence, 2, 7)


def test_a_right_answer_is_read_with_the_place_of_its_evidence() -> None:
    read = read_advice(json.dumps(RIGHT), ASKED, CODES)

    assert (read.class_code, read.confidence, ASKED[read.start : read.end]) == ("power_supply", 0.95, "一天黑三回")


def test_evidence_may_be_spelled_with_other_widths_than_the_text_that_was_asked() -> None:
    read = read_advice(json.dumps({**RIGHT, "evidence": " 黑三回，机器"}), ASKED, CODES)

    assert ASKED[read.start : read.end] == "黑三回,机器"


@pytest.mark.parametrize("evidence", ["00000000000", "*", "一", "", " , ", "退税", None, ["一天黑三回"], ASKED * 2])
def test_evidence_that_says_nothing_or_stands_nowhere_is_refused(evidence: object) -> None:
    with pytest.raises(AdviceRefusedError) as refused:
        read_advice(json.dumps({**RIGHT, "evidence": evidence}), ASKED, CODES)

    assert refused.value.problem == "no_evidence"


def test_a_class_that_the_catalogue_does_not_know_is_refused() -> None:
    with pytest.raises(AdviceRefusedError) as refused:
        read_advice(json.dumps({**RIGHT, "class": "mayor_office"}), ASKED, CODES)

    assert refused.value.problem == "unknown_class"


def test_a_confident_answer_that_the_model_finds_likely_too_stands() -> None:
    answer = advised(unsure(), advice("power_supply", 0.95), POLICY)

    assert not answer.abstained
    assert (answer.classes[0].code, answer.classes[0].probability) == ("power_supply", 0.95)
    assert sum(each.probability for each in answer.classes) == pytest.approx(1)
    assert [each.code for each in answer.classes[1:3]] == ["other", "arrears_payment"]
    assert answer.issues == ("power_supply", "other")
    assert [(span.start, span.end) for span in answer.evidence] == [(2, 7)]
    assert answer.adviser == "some-model"


@pytest.mark.parametrize(
    ("code", "confidence", "why"),
    [("power_supply", 0.89, "not confident"), ("loan_financing", 1.0, "unlikely to the model"), ("trade", 1.0, "not seen by the model")],
)
def test_any_other_answer_is_a_guess_for_the_person_who_decides(code: str, confidence: float, why: str) -> None:
    answer = advised(unsure(), advice(code, confidence), POLICY)

    assert answer.abstain_reason is AbstainReason.OUT_OF_SCOPE, why
    assert answer.classes[0].code == code
    assert len(answer.classes) == 5
    assert sum(each.probability for each in answer.classes) <= 1 + 1e-9


def test_an_answer_that_is_less_sure_than_the_models_first_class_comes_behind_it() -> None:
    answer = advised(unsure(), advice("power_supply", 0.2), POLICY)

    assert answer.abstained
    assert [each.code for each in answer.classes[:2]] == ["other", "power_supply"]
    assert answer.evidence == unsure().evidence


def test_a_question_holds_uniform_text_of_the_same_length_without_personal_data() -> None:
    text = "廠裡停電\u202e三次\n電話１３８１２３４５６７８"

    asked = question(text)

    assert asked == "厂里停电 三次 电话00000000000"
    assert len(asked) == len(text)


@pytest.mark.parametrize("text", ["", "？？？", "13812345678", "停电", "12345 67890 111"])
def test_where_there_is_nothing_to_ask_about_nothing_is_asked(text: str) -> None:
    assert question(text) is None
