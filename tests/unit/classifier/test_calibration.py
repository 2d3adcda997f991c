from __future__ import annotations

import numpy as np
import pytest

from services.classifier.training.calibration import Calibration, abstain_bar


def test_scores_that_promise_too_much_are_toned_down() -> None:
    random = np.random.default_rng(0)
    targets = random.integers(0, 3, 3_000)
    scores = np.eye(3, dtype=np.float32)[targets] * 20
    wrong = random.random(3_000) < 0.3
    scores[wrong] = scores[wrong][:, [1, 2, 0]]

    probabilities = Calibration.learn(scores, np.eye(3, dtype=np.bool_)[targets]).apply(scores)

    assert probabilities.max(axis=1).mean() == pytest.approx(0.7, abs=0.02)


def test_a_class_that_comes_up_more_often_than_its_scores_say_is_lifted() -> None:
    random = np.random.default_rng(0)
    targets = (random.random(2_000) < 0.8).astype(np.int64)
    scores = random.normal(size=(2_000, 2)).astype(np.float32) * 0.1

    calibration = Calibration.learn(scores, np.eye(2, dtype=np.bool_)[targets])

    assert calibration.shift[1] > calibration.shift[0]
    assert calibration.apply(scores)[:, 1].mean() > 0.55


def test_an_answer_that_is_acceptable_too_counts_as_right() -> None:
    random = np.random.default_rng(0)
    targets = random.integers(0, 3, 3_000)
    scores = np.eye(3, dtype=np.float32)[targets] * 20
    wrong = random.random(3_000) < 0.3
    scores[wrong] = scores[wrong][:, [1, 2, 0]]
    acceptable = scores > 0

    probabilities = Calibration.learn(scores, acceptable).apply(scores)

    assert probabilities.max(axis=1).mean() > 0.95


def test_the_bar_is_the_lowest_from_which_on_enough_answers_are_right() -> None:
    confidence = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    right = np.array([True, True, True, False, False])

    assert abstain_bar(confidence, right, 0.75) == pytest.approx(0.6)
    assert abstain_bar(confidence, right, 1.0) == pytest.approx(0.7)


def test_a_model_that_is_never_right_enough_answers_hardly_ever() -> None:
    assert abstain_bar(np.array([0.9, 0.8]), np.array([False, False]), 0.95) == pytest.approx(0.95)
