"""The table of recovery times: a figure beyond the bound, a broken promise or a further condition breaks a scenario."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.fault.checks import I1, I3, Violation
from tests.fault.recovery import Ended, Figures, Table


def _figures(**changes: Any) -> Figures:
    held: dict[str, Any] = {"scenario": "Kafka killed", "tickets": 300, "violations": [], "slowest": 9.9, "first": 0.4, "caught_up": 10.0}
    return Figures(**(held | changes))


def test_a_scenario_holds_when_every_figure_is_within_the_bound() -> None:
    assert _figures().failures == []


@pytest.mark.parametrize(
    ("changes", "failure"),
    [
        ({"slowest": 10.1}, "slowest dispatch after 10.1"),
        ({"first": math.inf}, "first dispatch after never"),
        ({"caught_up": 26.0}, "all caught up after 26.0"),
        ({"violations": None}, "the system did not come to rest"),
        ({"violations": [Violation(I1, "t-1", "gone")]}, "I1 t-1: gone"),
        ({"broken": ["3 answers INTERNAL"]}, "3 answers INTERNAL"),
    ],
)
def test_anything_beyond_the_bound_or_any_broken_promise_breaks_a_scenario(changes: dict[str, Any], failure: str) -> None:
    figures = _figures(**changes)

    assert figures.failures == [failure]
    assert figures.row()[-1] == "BROKEN"


def test_the_table_counts_lost_and_doubled_tickets_and_names_what_broke() -> None:
    table = Table()

    table.add(_figures(violations=[Violation(I1, "t-1", "gone"), Violation(I3, "t-2", "twice"), Violation(I3, "t-2", "thrice")]))

    _, row, *failures = table.lines()
    assert row.split()[2:] == ["300", "1", "1", "9.9", "0.4", "10.0", "BROKEN"]
    assert [line.strip() for line in failures] == ["BROKEN: I1 t-1: gone", "BROKEN: I3 t-2: twice", "BROKEN: I3 t-2: thrice"]


def test_services_that_end_are_counted_by_name_and_exit_code() -> None:
    ended = Ended()

    for name in ("sla", "intake", "sla"):
        ended.note(name, 1)

    assert list(ended) == ["sla ended with 1, 2 times", "intake ended with 1, 1 times"]
