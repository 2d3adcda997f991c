from __future__ import annotations

from datetime import timedelta

import pytest

from chassis.refusal import RefusalKind, Violation
from paidan.classifier.v1 import classifier_service_pb2 as pb
from services.classifier.adapters.access import ACCESS
from services.classifier.adapters.errors import translate
from services.classifier.domain.errors import InvalidFieldError, NoModelError


def test_a_field_at_fault_is_named() -> None:
    refusal = translate(InvalidFieldError("texts[1]", "has 5,001 characters"))

    assert refusal is not None
    assert (refusal.kind, refusal.reason) == (RefusalKind.INVALID, "INVALID_FIELD")
    assert refusal.violations == (Violation("texts[1]", "has 5,001 characters"),)


def test_a_caller_is_told_when_to_come_back_for_a_model() -> None:
    refusal = translate(NoModelError())

    assert refusal is not None
    assert (refusal.kind, refusal.reason, refusal.retry_after) == (RefusalKind.UNAVAILABLE, "NO_MODEL", timedelta(seconds=5))


def test_an_error_of_another_is_left_to_others() -> None:
    assert translate(ValueError("x")) is None


@pytest.mark.parametrize("error", [InvalidFieldError("text", ""), NoModelError()])
def test_every_reason_is_one_of_the_contract(error: Exception) -> None:
    refusal = translate(error)

    assert refusal is not None
    assert f"ERROR_REASON_{refusal.reason}" in pb.ErrorReason.keys()  # noqa: SIM118 - an enum of protobuf, not a dict


def test_every_rpc_of_the_contract_has_its_roles() -> None:
    methods = {method.name for method in pb.DESCRIPTOR.services_by_name["ClassifierService"].methods}

    assert set(ACCESS) == methods
