from __future__ import annotations

import pytest

from services.classifier.domain.classification import AbstainPolicy, AbstainReason
from tests.unit.classifier.builders import recognition

POLICY = AbstainPolicy(threshold=0.6, least_informative=2)


def test_a_sure_answer_is_given() -> None:
    reason = POLICY.reason(recognition(("power_supply", 0.6), ("gas_supply", 0.4)))

    assert reason is None


def test_a_sure_other_is_an_answer_like_any() -> None:
    reason = POLICY.reason(recognition(("other", 0.9), ("gas_supply", 0.1)))

    assert reason is None


def test_two_classes_that_are_too_close_are_left_to_a_person() -> None:
    reason = POLICY.reason(recognition(("power_supply", 0.59), ("gas_supply", 0.41)))

    assert reason is AbstainReason.UNSURE


@pytest.mark.parametrize("ranked", [(("other", 0.5), ("gas_supply", 0.4)), (("gas_supply", 0.5), ("other", 0.4))])
def test_a_doubt_whether_any_class_fits_is_told_as_such(ranked: tuple[tuple[str, float], ...]) -> None:
    reason = POLICY.reason(recognition(*ranked))

    assert reason is AbstainReason.OUT_OF_SCOPE


def test_where_next_to_nothing_is_said_no_probability_helps() -> None:
    reason = POLICY.reason(recognition(("power_supply", 0.99), ("gas_supply", 0.01), informative=1))

    assert reason is AbstainReason.TOO_LITTLE
