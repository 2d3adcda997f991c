"""A backlog: everything behind intake is down, tickets pile up, everything comes back."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.floors import open_hops
from bench.load import Load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.system import System

_IN_FLIGHT = 32
_CHUNK = 5_000
_FOR_EVER = 86_400.0
_SETTLE_PATIENCE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class DrainFigures:
    """How a backlog went.

    Attributes:
        tickets: In the backlog.
        seconds: From the start of the services' processes to the last ticket's arrival at its unit.
        ready_seconds: Of these until all services were ready.
        first_seconds: Of these until the first arrival.
        per_second: Tickets a second from the first arrival to the last.
        settled_seconds: From the last arrival until SLA and intake knew it all; None if it took too long.
        hops_per_second: Floor: messages a second through three bare hops.
        methods: Method → tickets that went by it.
        cpu_ms: Process → CPU time for each ticket in milliseconds, after the services' start.
    """

    tickets: int
    seconds: float
    ready_seconds: float
    first_seconds: float
    per_second: float
    settled_seconds: float | None
    hops_per_second: float
    methods: Mapping[str, int]
    cpu_ms: Mapping[str, float]


def measure_drain(system: System, *, tickets: int) -> DrainFigures:
    """Pile up tickets in front of the services that do not run yet, start these, and wait for the last arrival."""
    with system.screen.step(f"floor: {tickets} messages through three bare hops"), open_hops(system.kafka_options) as hops:
        hops_per_second = hops.per_second(tickets)
    _pile_up(system, tickets)
    backlog = set(system.ledger.missing())
    begun = system.start_rest()
    ready = time.time()
    meter = system.cpu_meter()
    with system.screen.step(f"draining {len(backlog)} tickets"):
        system.wait_arrivals()
        settled = system.settle(patience=_SETTLE_PATIENCE_SECONDS)
    cpu = meter.seconds()
    arrivals = [arrival for ticket_id in backlog if (arrival := system.ledger.arrival(ticket_id)) is not None]
    first, last = (pick(arrival.at for arrival in arrivals) for pick in (min, max))
    return DrainFigures(
        tickets=len(backlog),
        seconds=last - begun,
        ready_seconds=ready - begun,
        first_seconds=first - begun,
        per_second=len(arrivals) / max(last - first, 0.001),
        settled_seconds=settled,
        hops_per_second=hops_per_second,
        methods=Counter(arrival.method for arrival in arrivals),
        cpu_ms={name: seconds / len(backlog) * 1000 for name, seconds in cpu.items()},
    )


def _pile_up(system: System, tickets: int) -> None:
    while (wanted := tickets - system.ledger.pending) > 0:
        with system.screen.step(f"piling up {wanted} more tickets"):
            system.submit(system.load.begin(Load.in_flight, _IN_FLIGHT, seconds=_FOR_EVER, at_most=min(wanted, _CHUNK)))
