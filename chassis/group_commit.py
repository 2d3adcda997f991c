"""Group commit: commands that come while a transaction is under way share the next one.

caller 1 ─► lead: [1] ──commit──►
callers 2, 3, 4 ─► wait ─► one of them leads: [2, 3, 4] ──one commit──►
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

C = TypeVar("C")
R = TypeVar("R")


@dataclass(slots=True, eq=False)
class _Waiting(Generic[C, R]):
    command: C
    answer: R | None = None
    error: BaseException | None = None
    done: bool = False


class GroupCommit(Generic[C, R]):
    """Carries out commands of several threads together."""

    def __init__(self, carry_out: Callable[[Sequence[C]], Sequence[R]], *, most: int) -> None:
        """Carry out at most `most` commands at once by `carry_out`, which returns one answer a command and raises if nothing was done."""
        self._carry_out = carry_out
        self._most = most
        self._lock = threading.Lock()
        self._lead = threading.Lock()
        self._queue: list[_Waiting[C, R]] = []

    def __call__(self, command: C) -> R:
        """Carry out one command; returns when it is durable.

        Raises:
            Exception: What carrying it out alone raised; a fault of another command in the group does not count.
        """
        mine: _Waiting[C, R] = _Waiting(command)
        with self._lock:
            self._queue.append(mine)
        while not mine.done:
            with self._lead:
                if not mine.done:
                    self._carry_out_group()
        if mine.error is not None:
            raise mine.error
        return mine.answer  # type: ignore[return-value]  # set when done without error

    def _carry_out_group(self) -> None:
        with self._lock:
            group, self._queue = self._queue[: self._most], self._queue[self._most :]
        if not self._try(group) and len(group) > 1:
            for each in group:
                self._try([each])
        for each in group:
            each.done = True

    def _try(self, group: Sequence[_Waiting[C, R]]) -> bool:
        try:
            answers = self._carry_out([each.command for each in group])
            for each, answer in zip(group, answers, strict=True):
                each.answer, each.error = answer, None
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread; unanswered, the others would wait for ever
            for each in group:
                each.error = error
            return False
        return True
