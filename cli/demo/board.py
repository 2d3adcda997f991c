"""What the demo shows: a line a ticket as it is dispatched, and the summary."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from rich.cells import set_cell_size
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli.output import ZONE, console, print_json
from cli.render import METHODS
from paidan.dispatcher.v1 import dispatch_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.demo.city import City, Entry, Lead

_COLUMNS = (
    ("#", 3),
    ("诉求 request", 36),
    ("类别 class", 26),
    ("概率", 5),
    ("承办 unit", 22),
    ("方式 method", 13),
    ("秒 s", 6),
    ("期限 due", 11),
)
_WAIT_FOR_DUE_SECONDS = 8.0
_STYLES = {"AUTO": "green", "RULES": "yellow", "TRIAGE": "cyan", "FALLBACK": "red"}


class Board:
    """Prints each ticket once, when its first lead has it and its due time is known."""

    def __init__(self, city: City, probability: Callable[[Entry, Lead], float | None], *, as_json: bool) -> None:
        self._city = city
        self._probability = probability
        self._as_json = as_json
        self._shown: set[str] = set()

    def header(self) -> None:
        """Print the headings."""
        if not self._as_json:
            console.print(_line([name for name, _ in _COLUMNS]), style="bold", soft_wrap=True)

    def update(self) -> None:
        """Print what is new."""
        for entry in self._city.all():
            if entry.ticket_id in self._shown or not entry.leads:
                continue
            if entry.due or time.time() - entry.leads[0].seen_time > _WAIT_FOR_DUE_SECONDS:
                self._shown.add(entry.ticket_id)
                self._print(entry)

    def _print(self, entry: Entry) -> None:
        lead = entry.leads[0]
        probability = self._probability(entry, lead)
        method = dispatch_pb2.DispatchMethod.Name(lead.method).removeprefix("DISPATCH_METHOD_")  # type: ignore[arg-type]  # an open enum
        if self._as_json:
            print_json(
                {
                    "number": entry.number,
                    "text": entry.request.text,
                    "class": lead.class_code,
                    "probability": probability,
                    "unit": lead.unit,
                    "method": method,
                    "seconds_to_dispatch": round(entry.seconds_to_dispatch or 0, 3),
                    "due_time": entry.due,
                },
            )
            return
        known = self._city.classes.get(lead.class_code)
        cells = [
            str(entry.request.number),
            " ".join(entry.request.text.split()),
            known.name_zh if known else "–",
            f"{probability:.2f}" if probability is not None else "–",
            self._city.unit_name(lead.unit),
            METHODS.get(method, method),
            f"{entry.seconds_to_dispatch:.2f}",
            _due(entry.due),
        ]
        console.print(_line(cells, style=_STYLES.get(method, "")), soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold at the end."""

    name: str
    holds: bool
    detail: str


def show_summary(figures: list[tuple[str, str]], checks: list[Check], *, as_json: bool) -> None:
    """Print the summary."""
    if as_json:
        held = {check.name: {"holds": check.holds, "detail": check.detail} for check in checks}
        print_json({"figures": dict(figures), "checks": held, "ok": all(check.holds for check in checks)})
        return
    grid = Table.grid(padding=(0, 2))
    for name, value in figures:
        grid.add_row(f"[dim]{name}[/]", value)
    grid.add_row("", "")
    for check in checks:
        mark = "[green]✓[/]" if check.holds else "[bold red]✗[/]"
        grid.add_row(f"{mark} {check.name}", check.detail)
    console.print(Panel(grid, title="派单 Paidan · 汇总 summary", expand=False))


def _line(cells: list[str], style: str = "") -> Text:
    line = Text()
    for (_, width), cell in zip(_COLUMNS, cells, strict=True):
        fitted = set_cell_size(cell, width) if Text(cell).cell_len <= width else set_cell_size(cell, width - 1) + "…"
        line.append(fitted + " ", style=style if width == _METHOD_WIDTH else "")
    return line


def _due(text: str) -> str:
    if not text:
        return "–"
    return datetime.fromisoformat(text).astimezone(ZONE).strftime("%m-%d %H:%M")


_METHOD_WIDTH = 13
