"""`python -m bench`: measure, print, judge."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench.drain import measure_drain
from bench.end_to_end import measure_end_to_end, put_under_load
from bench.floors import commits_are_durable
from bench.memory import measure_memory
from bench.recognition import measure_recognition
from bench.report import Results, print_results, this_machine, write_json
from bench.screen import Screen
from bench.submit import measure_submit
from bench.system import System, open_system
from bench.targets import judge
from cli.output import errors_shown
from cli.up import ended_by_signals, stack_errors

_DATA = Path(".local")


class Part(StrEnum):
    """What can be measured alone."""

    RECOGNITION = "recognition"
    SUBMIT = "submit"
    DRAIN = "drain"
    END_TO_END = "end-to-end"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Scale:
    """How long things are measured.

    Attributes:
        seconds: Each submission and each fixed rate.
        step_seconds: Each step of the search for the highest rate.
        precision: How near the search comes: the ratio of what fails to what is sustained.
        backlog: Tickets to drain.
        passes: How often each text is recognised.
    """

    seconds: float
    step_seconds: float
    precision: float
    backlog: int
    passes: int


_FULL = Scale(seconds=30, step_seconds=15, precision=1.1, backlog=20_000, passes=3)
_QUICK = Scale(seconds=8, step_seconds=6, precision=1.25, backlog=2_000, passes=1)


def bench(
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Shorter windows and a backlog of 2,000: rough figures.")] = False,
    only: Annotated[list[Part] | None, typer.Option("--only", help="Measure this alone; may be given several times.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file too.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 when a target is missed.")] = False,
) -> None:
    """Measure Paidan on this machine with a Kafka, a PostgreSQL and four services of its own, each figure beside its floor.

    `KAFKA_BOOTSTRAP` and `DATABASE_URL` name existing servers instead. Exits with 1 when a ticket was lost or went out twice.
    """
    screen = Screen()
    with errors_shown(), stack_errors(), ended_by_signals():
        results = _measure(_QUICK if quick else _FULL, set(only or Part), screen, quick=quick)
    print_results(results)
    if json_file is not None:
        write_json(results, json_file)
    lost = set(only or Part) != {Part.RECOGNITION} and (results.account is None or not results.account.holds)
    missed = any(not verdict.passed for verdict in results.verdicts)
    raise typer.Exit(1 if lost or (strict and missed) else 0)


def _measure(scale: Scale, parts: set[Part], screen: Screen, *, quick: bool) -> Results:
    load_before = os.getloadavg()[0]
    recognition = measure_recognition(screen, passes=scale.passes) if Part.RECOGNITION in parts else None
    if parts == {Part.RECOGNITION}:
        return Results(this_machine(load_before=load_before, durable=None), quick, recognition, verdicts=judge(None, None, recognition))
    _DATA.mkdir(exist_ok=True)
    data_dir = Path(tempfile.mkdtemp(prefix="bench-", dir=_DATA))
    try:
        with open_system(data_dir, screen) as system:
            results = Results(this_machine(load_before=load_before, durable=commits_are_durable(system.database_url)), quick, recognition)
            _measure_parts(system, scale, parts, results)
    except Exception:  # whatever it was: it is raised again, and data and logs are what explains it
        screen.say(f"data and logs are kept in {data_dir}")
        raise
    except BaseException:
        shutil.rmtree(data_dir, ignore_errors=True)
        raise
    if results.account is None or not results.account.holds:
        screen.say(f"data and logs are kept in {data_dir}")
    else:
        shutil.rmtree(data_dir, ignore_errors=True)
    return results


def _measure_parts(system: System, scale: Scale, parts: set[Part], results: Results) -> None:
    # What needs the services behind intake to be down comes first.
    if Part.SUBMIT in parts:
        results.submit = measure_submit(system, seconds=scale.seconds)
    if Part.DRAIN in parts:
        results.drain = measure_drain(system, tickets=scale.backlog)
    else:
        system.start_rest()
        with system.screen.step("letting the tickets so far arrive"):
            system.wait_arrivals()
            system.settle(patience=60)
    if Part.END_TO_END in parts:
        results.end_to_end = measure_end_to_end(system, seconds=scale.seconds, step_seconds=scale.step_seconds, precision=scale.precision)
    if Part.MEMORY in parts:
        if Part.END_TO_END not in parts:
            put_under_load(system, seconds=scale.seconds)
        results.memory = measure_memory(system)
    with system.screen.step("waiting for every ticket"):
        system.wait_arrivals()
    results.account, results.dead_letters = system.account()
    results.verdicts = judge(results.end_to_end, results.memory, results.recognition)


if __name__ == "__main__":
    typer.run(bench)
