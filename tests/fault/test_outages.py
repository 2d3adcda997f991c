"""Brokers and database that die under load, and services that are told to go under load."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.fault.marks import ignore_leaked_sockets

if TYPE_CHECKING:
    from tests.fault.conftest import Run, Theatre

pytestmark = [pytest.mark.fault, ignore_leaked_sockets]

_MOMENT_SECONDS = 0.5


def test_brokers_that_are_killed_and_come_back_cost_nothing(theatre: Theatre, run: Run) -> None:
    kafka = theatre.city.stack.parts.kafka
    theatre.arrange()
    assert kafka is not None, "this test kills the brokers: run it without KAFKA_BOOTSTRAP"

    with run.load() as load:
        load.go_on_for(20)
        kafka.kill()
        load.go_on_for(20)
        acknowledged_without_brokers = len(run.ledger.acknowledged)
        kafka.start()
        load.go_on_for(10)
    violations = run.verdict(within=120)

    assert violations == []
    assert acknowledged_without_brokers >= 20
    assert {attempt.code for attempt in run.ledger.attempts} == {"OK"}


def test_a_database_that_is_killed_and_comes_back_costs_nothing_that_was_acknowledged(theatre: Theatre, run: Run) -> None:
    postgres = theatre.city.stack.parts.postgres
    theatre.arrange()
    assert postgres is not None, "this test kills the database: run it without DATABASE_URL"

    with run.load() as load:
        load.go_on_for(20)
        postgres.kill()
        load.go_on_for(20)
        postgres.start()
        load.go_on_for(10)
    violations = run.verdict(within=120)

    assert violations == []
    assert {attempt.code for attempt in run.ledger.attempts} <= {"OK", "UNAVAILABLE", "DEADLINE_EXCEEDED"}
    assert all(service.process.alive for service in theatre.city.stack.services.values())


@pytest.mark.parametrize("name", ["intake", "classifier", "dispatcher", "sla"])
def test_a_service_that_is_told_to_go_finishes_what_it_has_in_hand(theatre: Theatre, run: Run, name: str) -> None:
    service = theatre.service(name)
    theatre.arrange()
    for each in theatre.city.stack.services.values():
        each.wait_ready()

    with run.load() as load:
        load.go_on_for(20)
        leaving, told = service.process, time.time()
        service.stop()
        theatre.start(name)
        service.wait_ready()
        back = time.time()
        load.go_on_for(10)
    violations = run.verdict()

    failed = [attempt for attempt in run.ledger.attempts if attempt.code != "OK"]
    assert leaving.returncode == 0
    assert violations == []
    assert {attempt.code for attempt in failed} <= ({"UNAVAILABLE"} if name == "intake" else set())
    assert [attempt for attempt in failed if not told <= attempt.time <= back + _MOMENT_SECONDS] == []
