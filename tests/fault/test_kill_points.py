"""`kill -9` at every point between a commit and its consequences: nothing lost, nothing twice, nothing out of order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.fault.conftest import Run, Theatre

pytestmark = pytest.mark.fault

POINTS = {
    "transaction.before_commit": ("intake", "dispatcher", "sla"),
    "transaction.after_commit": ("intake", "dispatcher", "sla"),
    "producer.after_send": ("intake", "classifier", "dispatcher", "sla"),
    "relay.before_mark": ("intake", "dispatcher", "sla"),
    "consumer.before_offset_commit": ("intake", "classifier", "dispatcher", "sla"),
}
"""Point → services that pass it on a ticket's way. The classifier keeps nothing on that way: it has no transaction and no relay."""

OCCURRENCES = (3, 7, 23)
_KILLED = -9


@pytest.mark.parametrize("occurrence", OCCURRENCES)
@pytest.mark.parametrize("point", POINTS)
def test_services_that_die_at_this_point_lose_nothing_and_double_nothing(
    theatre: Theatre, run: Run, point: str, occurrence: int
) -> None:
    victims = POINTS[point]
    theatre.restart(victims, {"PAIDAN_FAILPOINT": f"{point}:{occurrence}"})

    with run.load() as load:
        ends = _bring_back_the_dead(theatre, victims)
        load.go_on_for(10)
    violations = run.verdict()

    assert ends == dict.fromkeys(victims, _KILLED)
    assert violations == []


def _bring_back_the_dead(theatre: Theatre, names: Sequence[str]) -> dict[str, int | None]:
    """Wait until each service has died, start it again at once, and return what each died of."""
    ends: dict[str, int | None] = {}

    def all_died() -> bool:
        for name in names:
            service = theatre.service(name)
            if name not in ends and not service.process.alive:
                ends[name] = service.process.returncode
                service.start()
        return len(ends) == len(names)

    eventually(all_died, lambda: f"death of {set(names) - set(ends)}", within=60)
    return ends
