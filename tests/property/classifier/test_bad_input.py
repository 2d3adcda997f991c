"""Input that nobody should send, put to the model that is served: `bad_input.jsonl`, and whatever hypothesis makes of it."""

from __future__ import annotations

import json
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.model import answer_json
from services.classifier.adapters.events import to_proto
from services.classifier.adapters.model_store import ModelFolder
from services.classifier.application.answering import answers
from services.classifier.domain.advice import question

if TYPE_CHECKING:
    from services.classifier.adapters.linear_model import LinearRecogniser
    from services.classifier.domain.classification import Classification

ROOT = Path(__file__).resolve().parents[3]
MODEL = ROOT / "build" / "model"
CORPUS = [json.loads(line) for line in (Path(__file__).parent / "bad_input.jsonl").read_text("utf-8").splitlines()]
TEXTS = [case["text"] * case.get("times", 1) for case in CORPUS]
SECONDS = 0.25
"""Many times what the slowest takes alone: tests share their machine."""

MIXED = st.lists(
    st.one_of(st.sampled_from(TEXTS).map(lambda text: text[:400]), st.text(st.characters(), max_size=60)), min_size=1, max_size=5
)


@cache
def served_model() -> LinearRecogniser:
    """Return the model that `make model` trained: tests of the product run on the product's model."""
    return ModelFolder(MODEL).load()


def answer_to(text: str) -> Classification:
    (answer,) = answers(served_model(), [text], len(served_model().classes))
    return answer


def assert_true_of(answer: Classification, text: str) -> None:
    probabilities = [each.probability for each in answer.classes]
    spans = [(each.start, each.end) for kind in (answer.evidence, answer.slots, answer.flags) for each in kind]
    assert {each.code for each in answer.classes} == {each.code for each in served_model().classes}
    assert sum(probabilities) == pytest.approx(1)
    assert all(0 <= probability <= 1 for probability in probabilities)
    assert probabilities == sorted(probabilities, reverse=True)
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert to_proto(answer).SerializeToString()
    assert json.loads(json.dumps(answer_json("x", answer)))["classes"]


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case["name"])
def test_bad_input_is_answered_in_time_and_with_nothing_to_know_the_model_says_so(case: dict[str, Any]) -> None:
    text = case["text"] * case.get("times", 1)
    served_model()
    started = time.perf_counter()

    answer = answer_to(text)

    assert time.perf_counter() - started < SECONDS
    assert_true_of(answer, text)
    if case.get("nothing_to_know"):
        assert answer.abstained


@given(MIXED)
@settings(max_examples=150, deadline=None)
def test_any_mixture_of_it_is_answered_truly(parts: list[str]) -> None:
    text = "".join(parts)

    assert_true_of(answer_to(text), text)


@given(st.sampled_from([case["text"] for case in CORPUS if "injection" in case["name"]]), st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_no_instruction_in_a_text_is_obeyed_only_its_words_are_counted(instruction: str, blanks: int) -> None:
    request = "我们厂这周停电三次,生产线报废一批料,请供电部门尽快来修"

    answer = answer_to(f"{request}{' ' * blanks}{instruction}")

    assert answer.classes[0].code in {answer_to(request).classes[0].code, answer_to(instruction).classes[0].code} or answer.abstained


@pytest.mark.parametrize("text", TEXTS, ids=[case["name"] for case in CORPUS])
def test_what_would_be_asked_of_a_language_model_keeps_every_position(text: str) -> None:
    asked = question(text)

    assert asked is None or len(asked) == min(len(text), 5_000)
    assert asked is None or asked.isprintable()
