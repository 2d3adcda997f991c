"""Brokers and database that die under load, and services that are told to go under load."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from deploy.local.stack import LocalService
from tests.fault.checks import report
from tests.fault.marks import FAULT

if TYPE_CHECKING:
    from tests.fault.conftest import Run, Theatre

pytestmark = FAULT

_MOMENT_SECONDS = 0.5
_END_RELAYS_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"


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

    assert not violations, report(violations)
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

    assert not violations, report(violations)
    assert {attempt.code for attempt in run.ledger.attempts} <= {"OK", "UNAVAILABLE", "DEADLINE_EXCEEDED"}
    assert all(service.process.alive for service in theatre.city.stack.services.values())


def test_relays_that_lose_their_lock_to_each_other_under_load_publish_everything_once_in_effect_and_in_order(
    theatre: Theatre, run: Run
) -> None:
    theatre.arrange()
    city = theatre.city

    with ExitStack() as resources:
        for name in ("intake", "dispatcher", "sla"):
            rival = LocalService(name, parts=city.stack.parts, log_dir=city.stack.log_dir, label="-rival")
            resources.callback(rival.stop)
            rival.start()
            rival.wait_ready()
        lost = 0
        with run.load() as load:
            for _ in range(20):
                load.go_on_for(3)
                lost += len(city.query(_END_RELAYS_SESSIONS))
        violations = run.verdict()

    assert lost >= 5
    assert not violations, report(violations)


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
    assert not violations, report(violations)
    assert {attempt.code for attempt in failed} <= ({"UNAVAILABLE"} if name == "intake" else set())
    assert [attempt for attempt in failed if not told <= attempt.time <= back + _MOMENT_SECONDS] == []
