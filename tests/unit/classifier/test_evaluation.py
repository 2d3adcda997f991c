from __future__ import annotations

import pytest

from services.classifier.training.evaluation import Answer, expected_calibration_error, macro_f1, report, wilson
from services.classifier.training.examples import Example


def answer(
    label: str, *ranked: str, probability: float = 0.9, abstained: bool = False, alt: tuple[str, ...] = (), style: str = ""
) -> Answer:
    return Answer(Example(text=f"text of {label}", label=label, alt=alt, style=style), ranked, probability, abstained)


def test_right_answers_are_counted_strictly_and_with_alternatives() -> None:
    figures = report(
        [answer("a", "a", "b", "c"), answer("a", "b", "a", "c", alt=("b",)), answer("b", "c", "a", "d"), answer("c", "a", "b", "c")]
    )

    assert figures["top1"] == 0.5
    assert figures["top1_strict"] == 0.25
    assert figures["top3"] == 0.75
    assert figures["top3_strict"] == 0.75


def test_precision_and_coverage_are_those_of_the_answers_given() -> None:
    figures = report([answer("a", "a"), answer("b", "a"), answer("b", "a", abstained=True), answer("c", "c")])

    assert figures["coverage"] == 0.75
    assert figures["precision_when_answered"] == pytest.approx(2 / 3)


def test_what_is_out_of_scope_may_be_found_or_abstained_from() -> None:
    figures = report([answer("other", "other"), answer("other", "a", abstained=True), answer("other", "a"), answer("a", "a")])

    assert figures["other_found_or_abstained"] == pytest.approx(2 / 3)


def test_macro_f1_gives_every_class_the_same_weight() -> None:
    # a: precision 2/3, recall 1, F1 0.8; b: precision 1, recall 1/2, F1 2/3.
    assert macro_f1([("a", "a"), ("a", "a"), ("b", "a"), ("b", "b")]) == pytest.approx((0.8 + 2 / 3) / 2)


def test_the_calibration_error_is_the_mean_gap_of_the_bins() -> None:
    always_sure_half_right = [(0.95, True), (0.95, False)]
    honest = [(0.5, True), (0.5, False)]

    assert expected_calibration_error(always_sure_half_right) == pytest.approx(0.45)
    assert expected_calibration_error(honest) == pytest.approx(0.0)


def test_the_surest_answers_come_first_on_the_risk_coverage_curve() -> None:
    figures = report([answer("a", "a", probability=0.9), answer("a", "b", probability=0.3)])

    points = {point["coverage"]: point["precision"] for point in figures["risk_coverage"]}
    assert points[0.5] == 1.0
    assert points[1.0] == 0.5


def test_the_interval_of_a_share_holds_it_and_is_never_empty() -> None:
    low, high = wilson(8, 10)

    assert (round(low, 3), round(high, 3)) == (0.49, 0.943)
    assert wilson(0, 0) == (0.0, 1.0)


def test_figures_are_given_by_class_and_style_and_the_worst_confusions_with_an_example() -> None:
    figures = report(
        [answer("a", "b", style="terse"), answer("a", "b", style="formal"), answer("a", "a", style="formal"), answer("b", "a")]
    )

    assert figures["by_class"]["a"]["recall"] == pytest.approx(1 / 3)
    assert figures["by_style"]["formal"]["top1"] == 0.5
    assert figures["confusions"][0] == {"true": "a", "given": "b", "texts": 2, "example": "text of a"}
