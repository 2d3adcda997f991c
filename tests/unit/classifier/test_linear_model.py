from __future__ import annotations

import numpy as np
import pytest

from services.classifier.adapters.linear_model import Vectoriser, calibrated
from services.classifier.domain.text import normalise
from services.classifier.training.fit import Material, Settings
from tests.unit.classifier.builders import LABELS, recogniser, some_classes, some_examples, some_parameters


def test_the_class_of_a_plain_request_comes_first() -> None:
    texts = ["这周停电三次,生产线报废一批料", "国企项目部欠我们货款86万", "银行说贷款到期不续了"]

    answers = recogniser().recognise([normalise(text) for text in texts])

    assert [answer.classes[0].code for answer in answers] == ["power_supply", "arrears_payment", "loan_financing"]


def test_every_class_is_ranked_and_probabilities_add_up_to_one() -> None:
    (answer,) = recogniser().recognise(["园区老是停电"])

    probabilities = [each.probability for each in answer.classes]
    assert {each.code for each in answer.classes} == set(LABELS)
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1)


def test_evidence_lies_on_the_words_that_decided() -> None:
    text = "昨天下午老板从外地回来开会说起园区又停电了"

    (answer,) = recogniser().recognise([text])

    strongest = max(answer.evidence, key=lambda span: span.weight)
    assert "停电" in text[strongest.start : strongest.end]


def test_a_text_alone_and_in_a_batch_gets_the_same_answer() -> None:
    texts = [normalise(example.text) for example in some_examples()[:60]]

    together = recogniser().recognise(texts)

    assert together == [recogniser().recognise([text])[0] for text in texts]


def test_a_batch_of_long_texts_is_answered_in_parts() -> None:
    texts = ["停电" * 2_500, "欠款" * 2_500] * 5

    answers = recogniser().recognise(texts)

    assert [answer.classes[0].code for answer in answers] == ["power_supply", "arrears_payment"] * 5


@pytest.mark.parametrize("text", ["", " ", "\0\0", "😀", "。"])
def test_a_text_without_words_is_answered_with_nothing_known(text: str) -> None:
    (answer,) = recogniser().recognise([normalise(text)])

    assert answer.informative < 2
    assert len(answer.classes) == len(LABELS)


def test_serving_computes_the_very_rows_that_training_did() -> None:
    examples = some_examples()[:80]
    material = Material(some_examples(), [], [each.code for each in some_classes()], Settings())
    linear = material.fit(np.arange(len(some_examples())))
    vectoriser = Vectoriser(linear.tfidf.keys, linear.tfidf.idf, Settings().longest)

    trained = linear.tfidf.apply(material.counts.rows(np.arange(len(examples))))
    served = list(vectoriser.rows([normalise(example.text) for example in examples]))

    for index, row in enumerate(served):
        dense = np.zeros(trained.shape[1], np.float32)
        dense[row.features] = row.values
        np.testing.assert_allclose(dense, trained[index].toarray().ravel(), rtol=1e-5, atol=1e-7)


def test_calibration_keeps_the_order_of_the_scores_when_nothing_is_shifted() -> None:
    scores = np.array([[0.2, -1.0, 0.9]], np.float32)

    probabilities = calibrated(scores, np.array([3.0], np.float32), np.zeros(3, np.float32))

    assert np.argsort(probabilities[0]).tolist() == [1, 0, 2]
    assert probabilities.sum() == pytest.approx(1)


def test_the_model_of_the_tests_is_not_trivial() -> None:
    assert len(some_parameters().keys) > 1_000


def test_every_matter_that_a_text_raises_is_named_the_main_one_first() -> None:
    text = "这周园区停电三次,生产线报废一批料,能不能装双回路。另外国企项目部欠我们货款86万,去年就到期了。"

    (answer,) = recogniser().recognise([normalise(text)])

    assert set(answer.issues) == {"power_supply", "arrears_payment"}
    assert answer.issues[0] == answer.classes[0].code


def test_a_text_with_one_matter_raises_one() -> None:
    (answer,) = recogniser().recognise(["这周园区停电三次,生产线报废一批料"])

    assert answer.issues == ("power_supply",)
