"""Every error of the domain is answered by a refusal whose reason is documented in the contract."""

from __future__ import annotations

import inspect

import pytest

from chassis.refusal import Refusal, RefusalKind
from paidan.intake.v1 import intake_service_pb2
from services.intake.adapters.errors import translate
from services.intake.domain import errors
from services.intake.domain.types import RequestId, TicketState, Version
from tests.unit.intake.builders import NOW

K = RefusalKind

TABLE = [
    (errors.InvalidFields([errors.FieldProblem("text", "must not be empty")]), K.INVALID, "INVALID_FIELD", {}),
    (errors.RequestIdReused(RequestId("r-1")), K.ALREADY_EXISTS, "REQUEST_ID_REUSED", {"request_id": "r-1"}),
    (errors.TicketNotFound("t-1"), K.NOT_FOUND, "TICKET_NOT_FOUND", {}),
    (
        errors.StateConflict(TicketState.SUBMITTED, [TicketState.CLOSED, TicketState.RESOLVED]),
        K.CONFLICT,
        "STATE_CONFLICT",
        {"state": "SUBMITTED", "allowed": "CLOSED, RESOLVED"},
    ),
    (errors.ReopenWindowOver(NOW), K.CONFLICT, "REOPEN_WINDOW_OVER", {"until": NOW.isoformat()}),
    (errors.NotLeadUnit(), K.FORBIDDEN, "NOT_LEAD_UNIT", {}),
    (errors.InvalidPageToken(), K.INVALID, "INVALID_PAGE_TOKEN", {}),
    (errors.VersionAhead(Version(7)), K.CONFLICT, "VERSION_AHEAD", {"present_version": "7"}),
    (errors.WatcherTooSlow(Version(7)), K.ABORTED, "WATCHER_TOO_SLOW", {"resume_after_version": "7"}),
]


@pytest.mark.parametrize(("error", "kind", "reason", "metadata"), TABLE, ids=lambda value: type(value).__name__)
def test_an_error_has_its_refusal(error: Exception, kind: RefusalKind, reason: str, metadata: dict[str, str]) -> None:
    refusal = translate(error)

    assert isinstance(refusal, Refusal)
    assert (refusal.kind, refusal.reason, refusal.metadata) == (kind, reason, metadata)
    assert refusal.message


def test_the_table_above_names_every_error_of_the_domain() -> None:
    declared = {
        each
        for _, each in inspect.getmembers(errors, inspect.isclass)
        if issubclass(each, errors.IntakeError) and each is not errors.IntakeError
    }

    assert {type(error) for error, *_ in TABLE} == declared


def test_the_reasons_are_those_of_the_contract_and_all_of_them() -> None:
    documented = {name.removeprefix("ERROR_REASON_") for name in intake_service_pb2.ErrorReason.keys()}  # noqa: SIM118 - an enum wrapper

    assert {reason for _, _, reason, _ in TABLE} == documented - {"UNSPECIFIED"}


def test_each_wrong_field_is_a_violation() -> None:
    refusal = translate(errors.InvalidFields([errors.FieldProblem("a", "is one"), errors.FieldProblem("b", "is two")]))

    assert refusal is not None
    assert [(each.field, each.description) for each in refusal.violations] == [("a", "is one"), ("b", "is two")]


def test_an_error_of_somebody_else_is_not_ours_to_answer() -> None:
    assert translate(ZeroDivisionError()) is None
