"""What is to be reached on two cores with everything on the one machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.end_to_end import RATES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.end_to_end import EndToEndFigures
    from bench.memory import MemoryFigures
    from bench.recognition import RecognitionFigures

_SUSTAINED_PER_SECOND = 150
_P99_SECONDS = 1.0
_RESIDENT_MB = 120
_RESIDENT_MB_OF = {"classifier": 300}
_TEXT_P50_MS = 1.0
_TEXT_P99_MS = 4.0
_RECOGNITION_MB = 300


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


def judge(end_to_end: EndToEndFigures | None, memory: MemoryFigures | None, recognition: RecognitionFigures | None) -> list[Verdict]:
    """Judge what was measured; what was not is left out."""
    verdicts: list[Verdict] = []
    if recognition is not None:
        verdicts += _judge_recognition(recognition)
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


def _judge_recognition(figures: RecognitionFigures) -> Iterator[Verdict]:
    p50, p99 = figures.single.p50 * 1000, figures.single.p99 * 1000
    yield Verdict(f"one text: p50 at most {_TEXT_P50_MS:g} ms on one core", f"{p50:.2f} ms", p50 <= _TEXT_P50_MS)
    yield Verdict(f"one text: p99 at most {_TEXT_P99_MS:g} ms on one core", f"{p99:.2f} ms", p99 <= _TEXT_P99_MS)
    for rate in figures.rates:
        target = rate.target_per_second
        yield Verdict(f"texts {rate.way}: at least {target:,.0f}/s", f"{rate.per_second:,.0f}/s", rate.per_second >= target)
    resident = figures.resident_mb
    yield Verdict(f"recognition alone: at most {_RECOGNITION_MB} MB resident", f"{resident:.0f} MB", resident <= _RECOGNITION_MB)
