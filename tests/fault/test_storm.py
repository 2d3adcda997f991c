"""Whatever portals, units and the desk do at once, and whoever dies meanwhile: in the end the services agree about every ticket."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest

from tests.fault.checks import report
from tests.fault.marks import FAULT
from tests.fault.storm import Storm
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from tests.fault.conftest import Run, Theatre

pytestmark = [*FAULT, pytest.mark.storm]

_TICKETS = 20
_SECONDS = 15


def test_after_a_storm_all_services_agree_about_every_ticket(theatre: Theatre, run: Run) -> None:
    theatre.arrange()
    storm = Storm(theatre.city, seed=20261123)

    storm.start()
    eventually(lambda: storm.submitted >= _TICKETS, f"{_TICKETS} tickets")
    kills = _kill_at_random(theatre)
    storm.stop()
    theatre.heal()
    run.settle(storm.ticket_ids())
    disagreements = storm.disagreements()

    assert kills >= 4
    assert not disagreements, report(disagreements)
    assert run.dead_letters() == []


def _kill_at_random(theatre: Theatre) -> int:
    """Kill a service every few seconds and start it again; returns how often."""
    dice = random.Random(20261123)
    end, kills = time.monotonic() + _SECONDS, 0
    while time.monotonic() < end:
        name = dice.choice(["intake", "classifier", "dispatcher", "sla"])
        theatre.service(name).process.kill()
        theatre.start(name)
        kills += 1
        time.sleep(dice.uniform(1.0, 4.0))
    return kills
