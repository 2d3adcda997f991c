"""Two pictures for the model card, as SVG: how honest the probabilities are, and what abstaining buys."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_SIZE = 360
_MARGIN = 48
_TICKS = 5


def reliability(points: Sequence[tuple[float, float, int]], error: float) -> str:
    """Return the reliability diagram of (mean probability, share right, texts) bins."""
    most = max((texts for _, _, texts in points), default=1)
    dots = "".join(
        f'<circle cx="{_x(p):.1f}" cy="{_y(right):.1f}" r="{3 + 7 * (texts / most) ** 0.5:.1f}" fill="#1f77b4" fill-opacity="0.75"/>'
        for p, right, texts in points
    )
    ideal = f'<line x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}" stroke="#999" stroke-dasharray="4 3"/>'
    return _frame(f"Calibration across writers (ECE {error:.3f})", "probability given", "share right", ideal + dots)


def risk_coverage(points: Sequence[tuple[float, float]], goal: float, chosen: tuple[float, float]) -> str:
    """Return the curve of (coverage, precision), with the precision aimed at and the point at which the model works."""
    line = " ".join(f"{_x(coverage):.1f},{_y(precision):.1f}" for coverage, precision in sorted(points))
    curve = f'<polyline points="{line}" fill="none" stroke="#1f77b4" stroke-width="2"/>'
    aim = f'<line x1="{_x(0)}" y1="{_y(goal):.1f}" x2="{_x(1)}" y2="{_y(goal):.1f}" stroke="#999" stroke-dasharray="4 3"/>'
    dot = f'<circle cx="{_x(chosen[0]):.1f}" cy="{_y(chosen[1]):.1f}" r="5" fill="#d62728"/>'
    title = f"Precision when answering (works at {chosen[0]:.2f}: {chosen[1]:.3f})"
    return _frame(title, "share of texts answered", "share right", aim + curve + dot)


def _x(value: float) -> float:
    return _MARGIN + value * (_SIZE - 2 * _MARGIN)


def _y(value: float) -> float:
    return _SIZE - _MARGIN - value * (_SIZE - 2 * _MARGIN)


def _frame(title: str, across: str, up: str, content: str) -> str:
    ticks = "".join(
        f'<text x="{_x(t):.1f}" y="{_y(0) + 16}" text-anchor="middle">{t:.1f}</text>'
        f'<text x="{_x(0) - 8}" y="{_y(t) + 4:.1f}" text-anchor="end">{t:.1f}</text>'
        for t in (step / _TICKS for step in range(_TICKS + 1))
    )
    box = f'<rect x="{_x(0)}" y="{_y(1)}" width="{_SIZE - 2 * _MARGIN}" height="{_SIZE - 2 * _MARGIN}" fill="none" stroke="#333"/>'
    middle = _SIZE / 2
    words = (
        f'<text x="{middle}" y="24" text-anchor="middle" font-size="13">{title}</text>'
        f'<text x="{middle}" y="{_SIZE - 10}" text-anchor="middle">{across}</text>'
        f'<text x="14" y="{middle}" text-anchor="middle" transform="rotate(-90 14 {middle})">{up}</text>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_SIZE} {_SIZE}" font-family="sans-serif" font-size="11">'
        f'<rect width="100%" height="100%" fill="white"/>{box}{ticks}{words}{content}</svg>\n'
    )
