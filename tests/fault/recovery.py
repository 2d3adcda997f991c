"""Measuring recovery: how long dispatch takes beside a fault and after it, and one line of figures for each scenario.

    last broken part answers again
    │──────── first ────────► a ticket submitted since then is on its unit's topic
    │──── all caught up ────► every ticket acknowledged before is dispatched, and intake shows it

The time of a dispatch is the broker's: the unit topics stamp records on arrival. A tap that comes back late falsifies no figure.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate
from typing import TYPE_CHECKING

import pytest
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from sqlalchemy.exc import OperationalError

from deploy.topics import all_topics
from tests.fault.checks import I1, I3, I8

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from tests.fault.checks import Violation
    from tests.fault.conftest import Run
    from tests.fault.ledger import Attempt, Ledger
    from tests.support.city import City

BOUND_SECONDS = 10.0
_POLL_SECONDS = 0.1
_BEFORE_FAULT_SECONDS = 1.0
_COLUMNS = ("scenario", "tickets", "lost", "doubled", "slowest s", "first s", "all s", "verdict")


@dataclass(frozen=True, slots=True)
class Dispatched:
    """A ticket's way from the portal to its unit's topic; all times in seconds since 1970, `math.inf` for what did not happen.

    Attributes:
        ticket_id: Id of the ticket.
        begun: When the portal first sent it.
        acknowledged: When intake acknowledged it.
        arrived: When the broker appended the first order to a lead unit.
        unit: The unit of that order; empty without one.
    """

    ticket_id: str
    begun: float
    acknowledged: float
    arrived: float
    unit: str

    @property
    def seconds(self) -> float:
        """From acknowledgement to the unit's topic."""
        return self.arrived - self.acknowledged


class Ended:
    """Services that ended by themselves while a supervisor watched them."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def note(self, name: str, code: int | None) -> None:
        """Count an end with an exit code."""
        self._counts[f"{name} ended with {code}"] += 1

    def __iter__(self) -> Iterator[str]:
        """Yield a line for each service and exit code; none if no service ended."""
        return iter([f"{what}, {count} times" for what, count in self._counts.items()])


@dataclass(frozen=True, slots=True)
class Outage:
    """One occurrence of a fault that affects all tickets.

    Attributes:
        broke: When the part broke, in seconds since 1970.
        back: When it answered again.
        caught_up: Seconds from then until all earlier tickets were dispatched; `math.inf` if they never were.
    """

    broke: float
    back: float
    caught_up: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a scenario measured.

    Attributes:
        scenario: What was done.
        tickets: Acknowledged tickets.
        violations: Violations in the ledger; None if the system did not come to rest, so that they are unknown.
        slowest: Longest dispatch, in seconds, of a ticket that the fault does not concern: another unit's, another portal's, or one
            submitted after recovery.
        first: Seconds from recovery to the first dispatch of a ticket submitted since then; None if nothing of everybody's broke.
        caught_up: Seconds from recovery until everything earlier was dispatched; None as above.
        notes: More figures, as text.
        broken: Further conditions of the scenario that do not hold.
    """

    scenario: str
    tickets: int
    violations: Sequence[Violation] | None
    slowest: float
    first: float | None = None
    caught_up: float | None = None
    notes: Sequence[str] = ()
    broken: Sequence[str] = ()

    @property
    def failures(self) -> list[str]:
        """Return the conditions that do not hold; empty if all hold."""
        measured = {"slowest dispatch": self.slowest, "first dispatch": self.first, "all caught up": self.caught_up}
        late = [f"{name} after {_text(seconds)}" for name, seconds in measured.items() if seconds is not None and seconds > BOUND_SECONDS]
        if self.violations is None:
            return [*late, "the system did not come to rest", *self.broken]
        return [*late, *map(str, self.violations), *self.broken]

    def row(self) -> Sequence[str]:
        """Return the cells of the table."""
        return (
            self.scenario,
            str(self.tickets),
            self._count({I1, I8}),
            self._count({I3}),
            *(_text(seconds) for seconds in (self.slowest, self.first, self.caught_up)),
            "held" if not self.failures else "BROKEN",
        )

    def _count(self, invariants: Collection[str]) -> str:
        if self.violations is None:
            return "?"
        return str(len({each.ticket_id for each in self.violations if each.invariant in invariants}))


@dataclass(slots=True)
class Table:
    """The figures of all scenarios of a test run."""

    rows: list[Figures] = field(default_factory=list)

    def add(self, figures: Figures) -> None:
        """Add a scenario and print its line at once."""
        self.rows.append(figures)
        print("\n" + "\n".join(self._lines([figures])))  # noqa: T201 - figures belong into the test's output

    def lines(self) -> list[str]:
        """Return the table as aligned text, what does not hold under each row; empty without scenarios."""
        return list(self._lines(self.rows)) if self.rows else []

    def _lines(self, rows: Sequence[Figures]) -> Iterator[str]:
        cells = [_COLUMNS, *(figures.row() for figures in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for row, figures in zip(cells, [None, *rows], strict=True):
            yield "  ".join(
                cell.ljust(width) if n == 0 else cell.rjust(width) for n, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            if figures is not None:
                yield from (f"    {note}" for note in figures.notes)
                yield from (f"    BROKEN: {failure}" for failure in figures.failures[:8])


TABLE = pytest.StashKey[Table]()


def stamp_on_arrival(city: City) -> None:
    """Let the broker stamp records of the units' topics when it appends them, instead of the sender when it first tries."""
    admin = KafkaAdminClient(bootstrap_servers=city.bootstrap)
    try:
        stamped = {"message.timestamp.type": "LogAppendTime"}
        topics = [topic for topic in all_topics() if topic.startswith("dispatch.")]
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, stamped) for topic in topics])
    finally:
        admin.close()


def dispatches(city: City, ledger: Ledger) -> list[Dispatched]:
    """Return the way of every acknowledged ticket so far."""
    with suppress(TimeoutError):
        city.catch_up()
    begun = ledger.begun
    acknowledged: dict[str, float] = {}
    for attempt in ledger.attempts:
        if attempt.code == "OK":
            acknowledged.setdefault(attempt.request_id, attempt.time)
    return [
        Dispatched(ticket_id, begun[request_id], acknowledged[request_id], *_arrival(city, ticket_id))
        for request_id, ids in ledger.acknowledged.items()
        for ticket_id in ids
    ]


def _arrival(city: City, ticket_id: str) -> tuple[float, str]:
    for record in city.records(ticket_id):
        if record.topic.startswith("dispatch."):
            message = json.loads(record.value)
            if message.get("order", {}).get("role") == "UNIT_ROLE_LEAD":
                return record.time / 1000, message["unit"]
    return math.inf, ""


def seconds_until_caught_up(city: City, ledger: Ledger, *, since: float, within: float) -> float:
    """Return how long after `since` intake shows every ticket dispatched that it had acknowledged by then; `math.inf` if not in time.

    Args:
        city: The system.
        ledger: Account of the run.
        since: When the last broken part answered again, in seconds since 1970.
        within: Most seconds to wait, counted from `since`.
    """
    earlier = {attempt.request_id for attempt in ledger.attempts if attempt.code == "OK" and attempt.time <= since}
    ids = [ticket_id for request_id, found in ledger.acknowledged.items() if request_id in earlier for ticket_id in found]
    while time.time() < since + within:
        with suppress(OperationalError):
            if not city.query("SELECT FROM intake.ticket WHERE ticket_id = ANY(:ids) AND state = 'SUBMITTED' LIMIT 1", ids=ids):
                return time.time() - since
        time.sleep(_POLL_SECONDS)
    return math.inf


def after_outages(scenario: str, run: Run, outages: Sequence[Outage], *, broken: Sequence[str] = (), notes: Sequence[str] = ()) -> Figures:
    """Return the figures of a fault that concerns everybody: the worst of all its strokes."""
    violations = violations_of(run)
    ways = dispatches(run.city, run.ledger)
    ends = [*(outage.broke for outage in outages[1:]), math.inf]
    since = [[way for way in ways if outage.back < way.begun < end] for outage, end in zip(outages, ends, strict=True)]
    return Figures(
        scenario=scenario,
        tickets=len(ways),
        violations=violations,
        slowest=max((way.seconds for way, end in _ended_before(since, ends)), default=math.inf),
        first=max(min((way.arrived for way in some), default=math.inf) - outage.back for outage, some in zip(outages, since, strict=True)),
        caught_up=max(outage.caught_up for outage in outages),
        notes=notes,
        broken=broken,
    )


def _ended_before(since: Sequence[Sequence[Dispatched]], ends: Sequence[float]) -> Iterator[tuple[Dispatched, float]]:
    """Yield tickets submitted between two strokes, but for those that the next stroke met on their way."""
    for ways, end in zip(since, ends, strict=True):
        yield from ((way, end) for way in ways if way.acknowledged < end - _BEFORE_FAULT_SECONDS)


def beside_a_neighbour(
    scenario: str,
    run: Run,
    *,
    neighbour: str = "",
    since: float | None = None,
    excused: Collection[str] = (),
    broken: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Figures:
    """Return the figures of a fault that concerns one neighbour only.

    Args:
        scenario: What was done.
        run: The run with the load.
        neighbour: Unit whose topic was at fault; its dispatches are not those of bystanders.
        since: When that topic was back, in seconds since 1970.
        excused: Topics whose dead letters are expected.
        broken: Further conditions that do not hold.
        notes: More figures, as text.
    """
    violations = violations_of(run, excused=excused)
    ways = dispatches(run.city, run.ledger)
    concerned = [way for way in ways if way.unit == neighbour] if neighbour else []
    bystanders = [way for way in ways if way not in concerned]
    if neighbour:
        notes = [*notes, f"{out_of_order(run.city, neighbour)} messages of {neighbour} lie behind one that was made later"]
    return Figures(
        scenario=scenario,
        tickets=len(ways),
        violations=violations,
        slowest=max((way.seconds for way in bystanders), default=math.inf),
        first=None if since is None else min((way.arrived for way in concerned if way.begun > since), default=math.inf) - since,
        caught_up=None
        if since is None
        else max(0.0, max((way.arrived for way in concerned if way.begun < since), default=math.inf) - since),
        notes=notes,
        broken=broken,
    )


def out_of_order(city: City, unit: str) -> int:
    """Return how many messages on a unit's topic follow a message that was created later; only first copies count."""
    sent: dict[str, datetime] = {}
    for record in sorted((each for each in city.all_records() if each.topic == f"dispatch.{unit}.v1"), key=lambda each: each.offset):
        message = json.loads(record.value)
        sent.setdefault(message["messageId"], datetime.fromisoformat(message["sendTime"]))
    times = list(sent.values())
    return sum(time < latest for time, latest in zip(times, accumulate(times, max), strict=True))


def violations_of(run: Run, *, excused: Collection[str] = ()) -> Sequence[Violation] | None:
    """Return the ledger's violations at rest; None if the system does not come to rest."""
    try:
        return run.balance(excused=excused)
    except AssertionError as error:
        print(f"\nno rest: {error}")  # noqa: T201 - the reason belongs into the test's output
        return None


def codes(ledger: Ledger) -> Mapping[str, int]:
    """Return gRPC code → number of answers to portals; UNAVAILABLE is split by whether it has `RetryInfo`."""
    return dict(Counter(_code(attempt) for attempt in ledger.attempts))


def _code(attempt: Attempt) -> str:
    if attempt.code != "UNAVAILABLE":
        return attempt.code
    return "UNAVAILABLE with RetryInfo" if attempt.retry_after is not None else "UNAVAILABLE without RetryInfo"


def p99_of_acceptance(run: Run) -> float:
    """Return the 99th percentile of the time from a ticket's first sending to its acknowledgement, in seconds."""
    waits = sorted(way.acknowledged - way.begun for way in dispatches(run.city, run.ledger))
    return waits[math.ceil(len(waits) * 0.99) - 1] if waits else math.inf


def _text(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return "never" if math.isinf(seconds) else f"{seconds:.1f}"
