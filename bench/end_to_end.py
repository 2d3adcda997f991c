"""From the moment at which a submission is due to the ticket's arrival on its unit's topic, at several rates."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

from bench.floors import Hops, open_hops
from bench.load import Load, schedule
from bench.stages import CLASSIFICATIONS, TICKETS, TopicReader, stages_of
from bench.stats import Latency, percentile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.observer import Arrival
    from bench.requests import Sample
    from bench.stages import Stages
    from bench.system import System

RATES = (20.0, 100.0)
LATENCY_LIMIT_SECONDS = 5.0
_DECIDED = "AUTO"
_FALLBACK = "FALLBACK"
_PROBES = 3
_PROBE_RATE = 20.0
_LEAST_TEXTS = 5
_SETTLE_PATIENCE_SECONDS = 120.0
_GROWTH = 1.5
_TRIES = 2
_STEP_DOWN = 0.85
_GROWING = 0.05
_LATE_SECONDS = 0.1
_FEW = 0.01


@dataclass(frozen=True, slots=True)
class RateFigures:
    """What was measured at one rate.

    Attributes:
        per_second: Submissions a second that were asked for.
        seconds: For how long.
        sent: Submissions.
        submit: Time from when a submission was due to its answer.
        dispatch: Time from when it was due to its arrival on the unit's topic, for tickets that no person had to decide.
        methods: Method → tickets; the rest wait for the desk.
        refused: Submissions that were not taken in.
        backlog: Tickets under way on average in the second quarter of the time, and in the last.
        settled_seconds: From the last answer until nothing was under way in any service; None if it took too long.
        generator_late: 99th percentile of how late the load sent, in seconds.
        cpu_ms: Process → CPU time for each ticket, in milliseconds, until all was settled.
        cpu_share: Process → share of one core.
        stages: Where the time of `dispatch` went.
        hops: Floor: three bare hops through Kafka on the same schedule.
    """

    per_second: float
    seconds: float
    sent: int
    submit: Latency
    dispatch: Latency
    methods: Mapping[str, int]
    refused: int
    backlog: tuple[float, float]
    settled_seconds: float | None
    generator_late: float
    cpu_ms: Mapping[str, float]
    cpu_share: Mapping[str, float]
    stages: Stages
    hops: Latency | None = None

    @property
    def shortfalls(self) -> Sequence[str]:
        """Return why this rate was not sustained; empty if it was."""
        undecided = self.sent - self.refused - sum(count for method, count in self.methods.items() if method != _FALLBACK)
        checks = {
            f"{self.refused} refused": self.refused > 0,
            f"p99 {self.dispatch.p99:.1f} s": not self.dispatch.p99 < LATENCY_LIMIT_SECONDS,
            "the backlog grows": self._backlog_grows,
            "not settled": self.settled_seconds is None or self.settled_seconds > LATENCY_LIMIT_SECONDS,
            f"{undecided} undecided": undecided > _FEW * self.sent,
            "the load was late": self.generator_late > _LATE_SECONDS,
        }
        return [reason for reason, holds in checks.items() if holds]

    @property
    def _backlog_grows(self) -> bool:
        """Whether more piled up than a twentieth of what was submitted meanwhile, and than chance explains (three standard deviations)."""
        early, late = self.backlog
        return late - early > _GROWING * self.sent / 2 + 3 * math.sqrt(max(early, late))

    @property
    def sustained(self) -> bool:
        """Whether the system kept up."""
        return not self.shortfalls


@dataclass(frozen=True, slots=True)
class EndToEndFigures:
    """All rates.

    Attributes:
        texts: Sample texts that the machine decides, and that the load is made of.
        waiting: Classes of the sample texts that wait for a person at the desk, by design, and are left out of the load.
        fixed: Figures at 20 and 100 a second.
        highest: Figures at the highest rate that was sustained; None if none was.
        tried: Rate → why it was not sustained, empty if it was; in the order of trying.
    """

    texts: int
    waiting: Sequence[str]
    fixed: Sequence[RateFigures]
    highest: RateFigures | None
    tried: Sequence[tuple[float, str]]


def measure_end_to_end(system: System, *, seconds: float, step_seconds: float, precision: float) -> EndToEndFigures:
    """Measure at fixed rates, then look for the highest that the system sustains.

    Args:
        system: What is measured; all services run.
        seconds: How long each fixed rate lasts.
        step_seconds: How long each step of the search lasts.
        precision: The search ends when the least rate that failed is at most this many times the highest that was sustained.
    """
    decided, waiting = _warm_up(system)
    system.use(decided)
    with open_hops(system.kafka_options) as hops:
        fixed = [_at_rate(system, rate, seconds, hops) for rate in RATES]
        tried: list[tuple[float, str]] = [(each.per_second, ", ".join(each.shortfalls)) for each in fixed]
        highest = _search(system, step_seconds, precision, [each for each in fixed if each.sustained], tried)
        highest = _confirm(system, highest, seconds, hops, tried)
    return EndToEndFigures(len(decided), waiting, fixed, highest, tried)


def put_under_load(system: System, *, seconds: float) -> None:
    """Submit at the second fixed rate for some time, for what is measured afterwards."""
    system.use(_warm_up(system)[0])
    _at_rate(system, RATES[-1], seconds, None)


def _warm_up(system: System) -> tuple[Sequence[Sample], Sequence[str]]:
    """Submit every sample text a few times.

    Returns:
        The texts that the machine decides each time, and the classes of the others: these wait for a person at the desk.

    Raises:
        RuntimeError: It decides hardly any: something is wrong.
    """
    with system.screen.step("warming up with every sample text of the catalogue"):
        due = [n / _PROBE_RATE for n in range(_PROBES * len(system.texts))]
        answers = system.submit(system.load.begin(Load.on_schedule, due))
        system.settle(patience=_SETTLE_PATIENCE_SECONDS)
    doubtful = {system.sample_of(answer) for answer in answers if _method(system.ledger.arrival(answer.ticket_id)) != _DECIDED}
    decided = [sample for sample in system.texts if sample not in doubtful]
    if len(decided) < _LEAST_TEXTS:
        raise RuntimeError(f"the machine decides only {len(decided)} of {len(system.texts)} sample texts: the load needs {_LEAST_TEXTS}")
    return decided, [sample.class_code for sample in system.texts if sample in doubtful]


def _at_rate(system: System, rate: float, seconds: float, hops: Hops | None) -> RateFigures:
    due = schedule(rate, seconds, seed=f"{system.run}/{rate}")
    floor = None
    if hops is not None:
        with system.screen.step(f"floor: three bare hops at {rate:.0f}/s"):
            floor = hops.latency(due)
    meter = system.cpu_meter()
    with system.screen.step(f"end to end at {rate:.0f}/s"):
        answers = system.submit(system.load.begin(Load.on_schedule, due))
        cpu_share = {name: used / seconds for name, used in meter.seconds().items()}
        settled = system.settle(patience=_SETTLE_PATIENCE_SECONDS)
    cpu = meter.seconds()
    arrived = [(answer, arrival) for answer in answers if (arrival := system.ledger.arrival(answer.ticket_id)) is not None]
    due_times = [answer.due for answer in answers]
    timely = [(answer, arrival) for answer, arrival in arrived if arrival.method != _FALLBACK]
    return RateFigures(
        per_second=rate,
        seconds=seconds,
        sent=len(answers),
        submit=Latency.of(answer.answered - answer.due for answer in answers if answer.accepted),
        dispatch=Latency.of(arrival.at - answer.due for answer, arrival in timely),
        methods=Counter(arrival.method for _, arrival in arrived),
        refused=sum(not answer.accepted for answer in answers),
        backlog=_backlog(due_times, [arrival.at for _, arrival in arrived], seconds),
        settled_seconds=settled,
        generator_late=percentile(sorted(answer.sent - answer.due for answer in answers), 0.99),
        cpu_ms={name: used / len(answers) * 1000 for name, used in cpu.items()},
        cpu_share=cpu_share,
        stages=stages_of(timely, *(system.topics.call(TopicReader.sent, topic, min(due_times)) for topic in (TICKETS, CLASSIFICATIONS))),
        hops=floor,
    )


def _search(
    system: System,
    seconds: float,
    precision: float,
    sustained: Sequence[RateFigures],
    tried: list[tuple[float, str]],
) -> RateFigures | None:
    """Step up until a rate fails, then bisect; notes every try."""
    best = sustained[-1] if sustained else None
    low, high = (best.per_second if best else 1.0), math.inf
    if best is None or best.per_second < RATES[-1]:
        high = min(rate for rate in RATES if rate > low)
    while high / low > precision:
        rate = float(round(low * _GROWTH if high == math.inf else math.sqrt(low * high)))
        figures = _try(system, rate, seconds, None, tried)
        if figures.sustained:
            low, best = rate, figures
        else:
            high = rate
    return best


def _confirm(
    system: System,
    found: RateFigures | None,
    seconds: float,
    hops: Hops,
    tried: list[tuple[float, str]],
) -> RateFigures | None:
    """Measure the rate that was found for as long as the fixed ones, with its floor, and a lower one where it does not hold so long."""
    while found is not None and found.hops is None:
        figures = _try(system, found.per_second, seconds, hops, tried)
        lower = float(round(figures.per_second * _STEP_DOWN))
        found = figures if figures.sustained else replace(figures, per_second=lower, hops=None) if lower >= 1 else None
    return found


def _try(system: System, rate: float, seconds: float, hops: Hops | None, tried: list[tuple[float, str]]) -> RateFigures:
    """Measure a rate, and once more if it was not sustained: a moment of other work on the machine shall not decide. Notes both."""
    for _ in range(_TRIES):
        figures = _at_rate(system, rate, seconds, hops)
        tried.append((rate, ", ".join(figures.shortfalls)))
        system.screen.say(f"{rate:.0f}/s: {tried[-1][1] or 'sustained'}")
        if figures.sustained:
            break
    return figures


def _backlog(due: Sequence[float], arrived: Sequence[float], seconds: float) -> tuple[float, float]:
    """Return how many tickets were under way on average in the second quarter of the time, and in the last."""
    start, due, arrived = min(due), sorted(due), sorted(arrived)

    def under_way(share: float) -> int:
        at = start + share * seconds
        return bisect_right(due, at) - bisect_right(arrived, at)

    quarters = [[under_way(share / 100) for share in shares] for shares in (range(25, 50), range(75, 100))]
    return fmean(quarters[0]), fmean(quarters[1])


def _method(arrival: Arrival | None) -> str:
    return "" if arrival is None else arrival.method
