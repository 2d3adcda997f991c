"""`kill -9` at every point between a commit and its consequences: nothing lost, nothing twice, nothing out of order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fault.checks import report
from tests.fault.marks import FAULT
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.fault.conftest import Run, Theatre

pytestmark = FAULT

POINTS = {
    "transaction.before_commit": ("intake", "dispatcher", "sla"),
    "transaction.after_commit": ("intake", "dispatcher", "sla"),
    "producer.after_send": ("intake", "classifier", "dispatcher", "sla"),
    "relay.before_mark": ("intake", "dispatcher", "sla"),
    "consumer.before_offset_commit": ("intake", "classifier", "dispatcher", "sla"),
}
"""Point → services that pass it on a ticket's way. The classifier keeps nothing there: its transactions and relay are not on it."""

OCCURRENCES = (3, 7, 23)
"""A service dies when it passes the point for the 3rd time; its successor at the 7th; the successor's at the 23rd."""

_KILLED = -9


@pytest.mark.parametrize("point", POINTS)
def test_services_that_die_at_this_point_three_times_each_lose_nothing_and_double_nothing(theatre: Theatre, run: Run, point: str) -> None:
    victims = POINTS[point]
    theatre.arrange(victims, _deadly(point, OCCURRENCES[0]))
    theatre.await_door()

    with run.load() as load:
        deaths = _let_die(theatre, victims, point)
        load.go_on_for(10)
    violations = run.verdict()

    assert deaths == dict.fromkeys(victims, [_KILLED] * len(OCCURRENCES))
    assert not violations, report(violations)


def _deadly(point: str, occurrence: int) -> dict[str, str]:
    return {"PAIDAN_FAILPOINT": f"{point}:{occurrence}"}


def _let_die(theatre: Theatre, names: Sequence[str], point: str) -> dict[str, list[int | None]]:
    """Start each service again as soon as it died, the last time for good; returns what each died of."""
    deaths: dict[str, list[int | None]] = {name: [] for name in names}

    def all_done() -> bool:
        for name, codes in deaths.items():
            service = theatre.service(name)
            if len(codes) < len(OCCURRENCES) and not service.process.alive:
                codes.append(service.process.returncode)
                theatre.start(name, _deadly(point, OCCURRENCES[len(codes)]) if len(codes) < len(OCCURRENCES) else None)
        return all(len(codes) == len(OCCURRENCES) for codes in deaths.values())

    eventually(all_done, lambda: f"death of every service at {point}; so far {deaths}", within=180)
    return deaths
