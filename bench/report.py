"""The tables, and the same as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from bench.processes import OTHERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.drain import DrainFigures
    from bench.end_to_end import EndToEndFigures, RateFigures
    from bench.floors import Rate
    from bench.ledger import Account
    from bench.memory import MemoryFigures
    from bench.recognition import RecognitionFigures
    from bench.submit import SubmitFigures
    from bench.targets import Verdict

_WIDTH = 140
_BUSY = 0.5
_DISTURBING = 0.15


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured.

    Attributes:
        time: When.
        cores: Cores that this process may use.
        processor: Model.
        memory_gb: Memory in GB of 10⁹ bytes.
        python: Version.
        kernel: Operating system.
        load_before: Processes that wanted a core in the minute before: above 0.5 something else was running.
        durable: Whether PostgreSQL answers a commit only when it is on disk; None if there was none.
    """

    time: str
    cores: int
    processor: str
    memory_gb: float
    python: str
    kernel: str
    load_before: float
    durable: bool | None


@dataclass(slots=True)
class Results:
    """All that was measured; None where it was not asked for."""

    machine: Machine
    quick: bool
    recognition: RecognitionFigures | None = None
    submit: SubmitFigures | None = None
    drain: DrainFigures | None = None
    end_to_end: EndToEndFigures | None = None
    memory: MemoryFigures | None = None
    account: Account | None = None
    dead_letters: int = 0
    verdicts: Sequence[Verdict] = ()


def this_machine(*, load_before: float, durable: bool | None) -> Machine:
    """Describe this machine."""
    return Machine(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        cores=len(os.sched_getaffinity(0)),
        processor=_processor(),
        memory_gb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
        python=platform.python_version(),
        kernel=f"{platform.system()} {platform.release()}",
        load_before=load_before,
        durable=durable,
    )


def print_results(results: Results) -> None:
    """Print the tables to standard output."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH)
    _print_machine(console, results)
    if results.recognition is not None:
        _print_recognition(console, results.recognition)
    if results.submit is not None:
        _print_submit(console, results.submit)
    if results.drain is not None:
        _print_drain(console, results.drain)
    if results.end_to_end is not None:
        _print_end_to_end(console, results.end_to_end)
    if results.memory is not None:
        _print_memory(console, results.memory)
    if results.account is not None:
        _print_account(console, results.account, results.dead_letters)
    if results.verdicts:
        _print_verdicts(console, results.verdicts)


def write_json(results: Results, path: Path) -> None:
    """Write everything to a file."""
    path.write_text(json.dumps(_plain(asdict(results)), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _print_machine(console: Console, results: Results) -> None:
    here = results.machine
    commits = "" if here.durable is None else f"; commits {'are' if here.durable else 'are NOT'} on disk when answered"
    console.print(
        f"{here.time}  {here.cores} cores of {here.processor}, {here.memory_gb:.0f} GB, {here.kernel}, Python {here.python}"
        f"{commits}{'; quick' if results.quick else ''}"
    )
    if here.load_before > _BUSY:
        console.print(
            f"[yellow]before the start the load was {here.load_before:.1f}: something else was running, take the figures with care[/]"
        )


def _print_recognition(console: Console, figures: RecognitionFigures) -> None:
    table = _table("Recognition alone", f"{figures.texts:,} texts", "measured", "floor", "÷ floor")
    for name, share in (("one text, one core: p50 ms", "p50"), ("one text, one core: p99 ms", "p99")):
        measured, floor = getattr(figures.single, share), getattr(figures.single_floor, share)
        table.add_row(name, f"{measured * 1000:.2f}", f"{floor * 1000:.2f}", _ratio(measured, floor))
    for rate in figures.rates:
        ratio = _ratio(rate.per_second, rate.floor_per_second)
        table.add_row(f"texts a second, {rate.way}", f"{rate.per_second:,.0f}", f"{rate.floor_per_second:,.0f}", ratio)
    resident, floor = figures.resident_mb, figures.resident_floor_mb
    table.add_row("RSS MB", f"{resident:.0f}", f"{floor:.0f}", _ratio(resident, floor))
    console.print(table)
    console.print(
        "[dim]floor: n-grams looked up in a dict and one sparse dot product, no spans, values or districts; NumPy imported alone[/]"
    )


def _print_submit(console: Console, figures: SubmitFigures) -> None:
    table = _table(
        "SubmitTicket (intake alone)", "", "in flight", "per second", "p50 ms", "p99 ms", "rate ÷ echo", "rate ÷ commit", "p50 ÷ floors"
    )
    commits = dict(zip(figures.submit, figures.commit.values(), strict=True))
    for calls, rate in figures.submit.items():
        echo, commit = figures.echo[calls], commits[calls]
        table.add_row(*_rate_cells("floor: empty gRPC echo", echo), "", "", "", style="dim")
        table.add_row(*_rate_cells("floor: one-row commit", commit), "", "", "", style="dim")
        table.add_row(
            *_rate_cells("SubmitTicket", rate),
            _ratio(rate.per_second, echo.per_second),
            _ratio(rate.per_second, commit.per_second),
            _ratio(rate.latency.p50, echo.latency.p50 + commit.latency.p50),
            end_section=True,
        )
    console.print(table)


def _rate_cells(name: str, rate: Rate) -> tuple[str, ...]:
    return name, str(rate.in_flight), f"{rate.per_second:,.0f}", _ms(rate.latency.p50), _ms(rate.latency.p99)


def _print_end_to_end(console: Console, figures: EndToEndFigures) -> None:
    table = _table(
        "End to end: submission due → order on the unit's topic",
        "per second",
        "tickets",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "worst ms",
        "floor p50",
        "floor p99",
        "p50 ÷ floor",
        "p99 ÷ floor",
        "submit p99",
        "settled s",
        "kept up",
    )
    shown = _shown(figures)
    for each in shown:
        floor = each.hops
        table.add_row(
            f"{each.per_second:.0f}{' (highest)' if each is figures.highest else ''}",
            str(each.sent),
            *(_ms(value) for value in (each.dispatch.p50, each.dispatch.p90, each.dispatch.p99, each.dispatch.worst)),
            *((_ms(floor.p50), _ms(floor.p99)) if floor else ("", "")),
            *((_ratio(each.dispatch.p50, floor.p50), _ratio(each.dispatch.p99, floor.p99)) if floor else ("", "")),
            _ms(each.submit.p99),
            _seconds(each.settled_seconds),
            "yes" if each.sustained else "[bold red]no[/]",
        )
    console.print(table)
    console.print("[dim]floor: three bare hops through Kafka (produce → consume, three times) on the same schedule; Poisson arrivals[/]")
    methods = [f"{each.per_second:.0f}/s: " + _counts(each.methods, each.sent - each.refused) for each in shown]
    console.print(f"[dim]decided by  {'   '.join(methods)}[/]")
    if figures.waiting:
        console.print(
            f"[dim]{figures.texts} sample texts are the load; {len(figures.waiting)} wait for a person at the desk, by design, "
            f"and are left out: {', '.join(figures.waiting)}[/]"
        )
    console.print("[dim]tried  " + "   ".join(f"{rate:.0f}/s {problem or '✓'}" for rate, problem in figures.tried) + "[/]")
    _print_stages(console, shown)
    _print_cpu(console, {f"{each.per_second:.0f}/s": each for each in shown})


def _shown(figures: EndToEndFigures) -> list[RateFigures]:
    highest = figures.highest
    return [*figures.fixed, *([highest] if highest is not None and highest not in figures.fixed else [])]


def _print_stages(console: Console, figures: Sequence[RateFigures]) -> None:
    legs = {
        "due → answered": "submit",
        "due → on intake's topic": "intake",
        "→ on the classifier's topic": "classify",
        "→ on the unit's topic": "dispatch",
        "→ at the unit": "arrive",
    }
    table = _table("Where the time goes, ms", "", *(f"{name} at {each.per_second:.0f}/s" for each in figures for name in ("p50", "p99")))
    for name, leg in legs.items():
        latencies = [getattr(each.stages, leg) for each in figures]
        table.add_row(name, *(_ms(value) for latency in latencies for value in (latency.p50, latency.p99)))
    console.print(table)


def _print_cpu(console: Console, figures: Mapping[str, RateFigures]) -> None:
    headers = [f"{unit} {name}" for name in figures for unit in ("ms at", "core at")]
    table = _table("CPU time for each ticket, and share of one core", "", *headers)
    names = list(dict.fromkeys(name for each in figures.values() for name in each.cpu_ms))
    for name in names:
        cells = [(f"{each.cpu_ms[name]:.2f}", f"{each.cpu_share[name]:.0%}") for each in figures.values()]
        table.add_row(name, *(cell for pair in cells for cell in pair), style="dim" if name.startswith("bench") else "")
    sums = [(f"{_ours(each.cpu_ms):.2f}", f"{_ours(each.cpu_share):.0%}") for each in figures.values()]
    table.add_section()
    table.add_row("together, without anything else", *(cell for pair in sums for cell in pair))
    console.print(table)
    disturbed = [name for name, each in figures.items() if each.cpu_share[OTHERS] > _DISTURBING]
    if disturbed:
        console.print(
            f"[yellow]something else used much of this machine at {', '.join(disturbed)}: these figures are worse than they could be[/]"
        )


def _ours(by_process: Mapping[str, float]) -> float:
    return sum(value for name, value in by_process.items() if name != OTHERS)


def _print_drain(console: Console, figures: DrainFigures) -> None:
    table = _table(
        "Drain: tickets pile up while the classifier, the dispatcher and the SLA service are down; then these are started",
        "tickets",
        "s in all",
        "s until ready",
        "s until first",
        "per second",
        "floor /s",
        "÷ floor",
        "settled s",
    )
    table.add_row(
        f"{figures.tickets:,}",
        f"{figures.seconds:.1f}",
        f"{figures.ready_seconds:.1f}",
        f"{figures.first_seconds:.1f}",
        f"{figures.per_second:.0f}",
        f"{figures.hops_per_second:,.0f}",
        _ratio(figures.per_second, figures.hops_per_second),
        _seconds(figures.settled_seconds),
    )
    console.print(table)
    console.print(
        "[dim]from the start of the processes; rate from the first arrival to the last; settled: when SLA and intake knew it all too[/]"
    )
    console.print(f"[dim]decided by  {_counts(figures.methods, figures.tickets)}[/]")
    cpu = "   ".join(f"{name} {used:.2f}" for name, used in figures.cpu_ms.items())
    console.print(f"[dim]CPU ms/ticket  {cpu}[/]")


def _print_memory(console: Console, figures: MemoryFigures) -> None:
    table = _table("Memory, idle after load", "", "RSS MB", "PSS MB", "RSS ÷ floor", "PSS ÷ floor")
    table.add_row("floor: imports alone", f"{figures.bare.rss:.0f}", f"{figures.bare.pss:.0f}", "", "", style="dim")
    for name, used in figures.services.items():
        table.add_row(name, f"{used.rss:.0f}", f"{used.pss:.0f}", _ratio(used.rss, figures.bare.rss), _ratio(used.pss, figures.bare.pss))
    console.print(table)


def _print_account(console: Console, account: Account, dead_letters: int) -> None:
    state = "[green]nothing lost, nothing twice[/]" if account.holds else "[bold red]DOES NOT HOLD[/]"
    console.print(
        f"Account: {account.sent:,} submissions = {account.accepted:,} accepted + {account.refused:,} refused + {account.unknown:,} unknown"
        f" (of the accepted {account.arrived:,} arrived once, {account.twice:,} twice, {account.missing:,} are missing): {state}"
    )
    console.print(
        f"[dim]{account.repeated:,} deliveries repeated under the same message id, {dead_letters:,} dead letters, "
        f"{account.strangers:,} orders for others' tickets; by {_counts(account.methods, account.accepted)}[/]"
    )


def _print_verdicts(console: Console, verdicts: Sequence[Verdict]) -> None:
    table = _table("Targets", "target", "measured", "")
    for verdict in verdicts:
        table.add_row(verdict.target, verdict.measured, "[green]PASS[/]" if verdict.passed else "[bold red]FAIL[/]")
    console.print(table)


def _table(title: str, *headers: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None, padding=(0, 1))
    for position, header in enumerate(headers):
        table.add_column(header, justify="left" if position == 0 else "right")
    return table


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.1f}"


def _seconds(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f}"


def _ratio(value: float, floor: float) -> str:
    return f"{value / floor:.2f}×" if floor else "–"


def _counts(methods: Mapping[str, int], total: int) -> str:
    waiting = total - sum(methods.values())
    parts = [f"{name} {count:,}" for name, count in sorted(methods.items(), key=lambda item: -item[1])]
    return ", ".join([*parts, *([f"not yet {waiting:,}"] if waiting else [])]) or "none"


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return a value with names as keys, as JSON has them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
