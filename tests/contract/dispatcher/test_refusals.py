from __future__ import annotations

import pytest

from chassis.page import InvalidPageToken
from paidan.dispatcher.v1 import dispatcher_service_pb2
from services.dispatcher.adapters.errors import translate
from services.dispatcher.domain import errors
from services.dispatcher.domain.values import State, UnitCode
from tests.unit.dispatcher.builders import NOON

DOCUMENTED = {value.name for value in dispatcher_service_pb2.ErrorReason.DESCRIPTOR.values}
EVERY = {
    "INVALID_FIELD": errors.InvalidFields([("note", "is required")]),
    "DISPATCH_NOT_FOUND": errors.DispatchNotFound("t-1"),
    "STALE_EPOCH": errors.StaleEpoch(3),
    "STATE_CONFLICT": errors.StateConflict(State.WITHDRAWN),
    "NOT_LEAD_UNIT": errors.NotLeadUnit(UnitCode("scjgj")),
    "UNKNOWN_UNIT": errors.UnknownUnit("500112", "unit"),
    "REQUEST_ID_REUSED": errors.RequestIdReused("r-1"),
    "DECISION_IS_FINAL": errors.DecisionIsFinal(),
    "PAST_DUE": errors.PastDue(NOON),
    "NO_PENDING_EXTENSION": errors.NoPendingExtension(),
    "INVALID_PAGE_TOKEN": InvalidPageToken(),
}
METADATA = {
    "STALE_EPOCH": {"active_epoch"},
    "STATE_CONFLICT": {"state"},
    "UNKNOWN_UNIT": {"unit"},
    "PAST_DUE": {"due_time"},
    "REQUEST_ID_REUSED": {"request_id"},
}
FIELDS = {"INVALID_FIELD": ("note",), "UNKNOWN_UNIT": ("unit",), "INVALID_PAGE_TOKEN": ("page_token",)}


@pytest.mark.parametrize(("reason", "error"), EVERY.items(), ids=EVERY)
def test_an_error_is_refused_with_its_documented_reason_and_metadata(reason: str, error: Exception) -> None:
    refusal = translate(error)

    assert refusal is not None
    assert refusal.reason == reason
    assert f"ERROR_REASON_{reason}" in DOCUMENTED
    assert set(refusal.metadata) == METADATA.get(reason, set())
    assert tuple(violation.field for violation in refusal.violations) == FIELDS.get(reason, ())
    assert refusal.message


def test_every_documented_reason_is_used() -> None:
    assert {f"ERROR_REASON_{reason}" for reason in (*EVERY, "UNREADABLE", "UNSPECIFIED")} == DOCUMENTED


def test_every_refusal_of_the_domain_is_in_the_table() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.DispatcherError)}

    assert kinds - {errors.DispatcherError, errors.CatalogueInvalid} <= {type(error) for error in EVERY.values()}


def test_an_error_of_another_kind_is_not_ours() -> None:
    assert translate(ValueError("secret")) is None
