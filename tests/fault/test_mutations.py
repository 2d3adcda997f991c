"""Our checks have teeth: whoever removes one of the things that keep a promise turns a check red, and the right one.

The stresses that some mutations need are tried alone as well: with everything in its place they do no harm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from paidan.dispatcher.v1 import dispatcher_service_pb2 as pb
from tests.fault.checks import I1, I2, I3, I4, I8, Invariant, report
from tests.fault.ledger import Plan
from tests.fault.marks import FAULT
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.fault.checks import Violation
    from tests.fault.conftest import Run, Theatre

pytestmark = FAULT

EVERYBODY = ("intake", "classifier", "dispatcher", "sla")
_KILLED = -9


@pytest.mark.parametrize(
    ("stress", "services"),
    [("deliver_everything_twice", EVERYBODY), ("fail_half_of_the_sends", ("intake", "dispatcher", "sla"))],
)
def test_a_stress_without_a_mutation_breaks_no_promise(theatre: Theatre, run: Run, stress: str, services: Collection[str]) -> None:
    violations = _under(theatre, run, stress, services)

    assert not violations, report(violations)


@pytest.mark.parametrize(
    ("mutation", "service", "broken"),
    [
        ("no_inbox", "dispatcher", I3),
        ("no_inbox", "intake", I3),
        ("relay_without_waves", "dispatcher", I4),
    ],
)
def test_a_mutation_is_found(theatre: Theatre, run: Run, mutation: str, service: str, broken: Invariant) -> None:
    violations = _under(theatre, run, mutation, [service])

    assert broken in _invariants(violations)


@pytest.mark.parametrize(
    ("mutation", "service", "broken"),
    [
        ("answer_before_commit", "intake", {I1}),
        ("offset_before_effect", "dispatcher", {I2, I8}),
        ("offset_before_effect", "sla", {I8}),
        ("publish_after_commit", "intake", {I2, I8}),
        ("publish_after_commit", "dispatcher", {I2, I8}),
    ],
)
def test_a_mutation_is_found_once_the_service_dies(theatre: Theatre, run: Run, mutation: str, service: str, broken: set[Invariant]) -> None:
    theatre.arrange([service], {"PAIDAN_FAILPOINT": "mutant.between:4"}, mutation=mutation)
    victim = theatre.service(service).process

    with run.load(plans=[Plan.USUAL]) as load:
        eventually(lambda: not victim.alive, f"death of {service}", within=120)
        theatre.start(service)
        load.go_on_for(5)
    violations = run.verdict()

    assert victim.returncode == _KILLED
    assert broken <= _invariants(violations)


def test_a_unit_that_acts_too_late_changes_nothing(theatre: Theatre, run: Run) -> None:
    theatre.arrange()

    violations = _with_late_units(theatre, run)

    assert not violations, report(violations)


def test_acting_on_stale_epochs_is_found(theatre: Theatre, run: Run) -> None:
    theatre.arrange(["dispatcher"], mutation="stale_epochs")

    violations = _with_late_units(theatre, run)

    assert I2 in _invariants(violations)


def _under(theatre: Theatre, run: Run, mutation: str, services: Collection[str]) -> list[Violation]:
    """Let some tickets pass while services run with a mutation or under a stress, and judge."""
    theatre.arrange(services, mutation=mutation)
    theatre.await_door()
    with run.load() as load:
        load.go_on_for(40)
    return run.verdict()


def _with_late_units(theatre: Theatre, run: Run) -> list[Violation]:
    """Take tickets from units that act only afterwards, and judge."""
    city = theatre.city
    with run.load(plans=[Plan.LATE]) as load:
        load.go_on_for(5)
    for (ticket_id,) in run.ledger.acknowledged.values():
        order = eventually(lambda: _lead_order(theatre, ticket_id), f"order about {ticket_id}")  # noqa: B023 - called at once
        other = "kjj" if order["unit"] != "kjj" else "sww"
        request = pb.TransferRequest(ticket_id=ticket_id, epoch=order["epoch"], unit=other, reason="改由对口部门办理")
        city.dispatcher.Transfer(request, metadata=city.desk, timeout=15, wait_for_ready=True)
    return run.verdict()


def _lead_order(theatre: Theatre, ticket_id: str) -> dict[str, object] | None:
    orders = theatre.city.messages(ticket_id, body="order")
    return next((order for order in orders if order["order"]["role"] == "UNIT_ROLE_LEAD"), None)


def _invariants(violations: Collection[Violation]) -> set[Invariant]:
    return {violation.invariant for violation in violations}
