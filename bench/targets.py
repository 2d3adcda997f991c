"""What is to be reached on two cores with everything on the one machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.end_to_end import RATES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.end_to_end import EndToEndFigures
    from bench.memory import MemoryFigures

_SUSTAINED_PER_SECOND = 150
_P99_SECONDS = 1.0
_RESIDENT_MB = 120
_RESIDENT_MB_OF = {"classifier": 300}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target and whether it was reached.

    Attributes:
        target: What is to be reached.
        measured: What was.
        passed: Whether that is enough.
    """

    target: str
    measured: str
    passed: bool


def judge(end_to_end: EndToEndFigures | None, memory: MemoryFigures | None) -> list[Verdict]:
    """Judge what was measured; what was not is left out."""
    verdicts: list[Verdict] = []
    if end_to_end is not None:
        verdicts += _judge_rates(end_to_end)
    if memory is not None:
        for name, used in memory.services.items():
            limit = _RESIDENT_MB_OF.get(name, _RESIDENT_MB)
            verdicts.append(Verdict(f"{name}: at most {limit} MB resident, idle after load", f"{used.rss:.0f} MB", used.rss <= limit))
    return verdicts


def _judge_rates(figures: EndToEndFigures) -> Iterator[Verdict]:
    rate = figures.highest.per_second if figures.highest is not None else 0.0
    yield Verdict(f"at least {_SUSTAINED_PER_SECOND} tickets/s sustained end to end", f"{rate:.0f}/s", rate >= _SUSTAINED_PER_SECOND)
    p99 = figures.fixed[0].dispatch.p99
    yield Verdict(f"p99 end to end at most {_P99_SECONDS:g} s at {RATES[0]:.0f}/s", f"{p99:.3f} s", p99 <= _P99_SECONDS)
