"""Percentiles of what was measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Latency:
    """The distribution of a time, in seconds; all NaN when nothing was measured.

    Attributes:
        count: How many were measured.
        p50: Median.
        p90: 90th percentile.
        p99: 99th percentile.
        worst: The longest.
    """

    count: int
    p50: float
    p90: float
    p99: float
    worst: float

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Latency:
        """Summarise measured times."""
        ordered = sorted(seconds)
        return cls(len(ordered), *(percentile(ordered, share) for share in (0.5, 0.9, 0.99, 1.0)))


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the least value that at least `share` of the sorted values do not exceed (nearest rank); NaN of nothing."""
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
