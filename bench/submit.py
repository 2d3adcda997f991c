"""The door alone: how many submissions a second, and how long each takes until it is durable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.floors import Rate, commit_rates, echo_rates
from bench.load import Load
from bench.stats import Latency

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.system import System

IN_FLIGHT = (1, 32)
CONNECTIONS = (1, 8)
_MOST_PER_SECOND = 3_000


@dataclass(frozen=True, slots=True)
class SubmitFigures:
    """SubmitTicket beside its floors.

    Attributes:
        submit: Submissions in flight → what was measured; the services behind intake do not run.
        echo: Calls in flight → an empty call to a bare server.
        commit: Connections → a commit of one row.
    """

    submit: Mapping[int, Rate]
    echo: Mapping[int, Rate]
    commit: Mapping[int, Rate]


def measure_submit(system: System, *, seconds: float) -> SubmitFigures:
    """Measure submissions and their floors, each for that many seconds."""
    with system.screen.step("floor: an empty gRPC call"):
        echo = echo_rates(IN_FLIGHT, seconds)
    with system.screen.step("floor: a commit of one row"):
        commit = commit_rates(system.database_url, CONNECTIONS, seconds)
    _submit(system, IN_FLIGHT[0], min(1.0, seconds))
    return SubmitFigures({calls: _submit(system, calls, seconds) for calls in IN_FLIGHT}, echo, commit)


def _submit(system: System, calls: int, seconds: float) -> Rate:
    with system.screen.step(f"SubmitTicket, {calls} in flight"):
        most = int(_MOST_PER_SECOND * seconds)
        answers = system.submit(system.load.begin(Load.in_flight, calls, seconds=seconds, at_most=most))
    accepted = [answer for answer in answers if answer.accepted]
    span = max(answer.answered for answer in answers) - min(answer.sent for answer in answers)
    return Rate(calls, len(accepted) / span, Latency.of(answer.answered - answer.sent for answer in accepted))
