"""What is said while the benchmark runs, on standard error; results alone go to standard output."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.status import Status

_LINE_EVERY_SECONDS = 10.0


class Screen:
    """A line that changes on a terminal; elsewhere a line now and then."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._status: Status | None = None
        self._step = ""
        self._last_line = 0.0

    def say(self, line: str) -> None:
        """Print one thing that happened."""
        self._console.print(f"[dim]· {line}[/]")

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Say what is being done for the length of the `with` block."""
        self._step, self._last_line = what, time.monotonic()
        if not self._console.is_terminal:
            self.say(what)
            yield
            return
        begun = time.monotonic()
        with self._console.status(what) as self._status:
            yield
        self._status = None
        self.say(f"{what}: {time.monotonic() - begun:.0f} s")

    def show(self, progress: str) -> None:
        """Say how far the present step is."""
        if self._status is not None:
            self._status.update(f"{self._step}: {progress}")
        elif not self._console.is_terminal and time.monotonic() - self._last_line > _LINE_EVERY_SECONDS:
            self._last_line = time.monotonic()
            self.say(f"  {progress}")
