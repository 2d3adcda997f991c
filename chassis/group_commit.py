"""Group commit: commands that come while a transaction is under way share the next one.

caller 1 ─► [1] ──────commit──────►
callers 2, 3, 4 ─► wait ─► [2, 3, 4] ──one commit──►
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Generic, TypeVar

from chassis.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

C = TypeVar("C")
R = TypeVar("R")

_STOP_POLL_SECONDS = 0.1


class GroupCommit(Generic[C, R]):
    """Carries out the commands of many callers together, in a thread of its own: a component."""

    name = "group_commit"

    def __init__(self, carry_out: Callable[[Sequence[C]], Sequence[R]], *, most: int, pace: timedelta) -> None:
        """Group commands.

        Args:
            carry_out: Carries out commands; returns one answer a command, and raises if nothing was done.
            most: Most commands in one group.
            pace: Least time between the beginnings of two groups; a command that comes alone does not wait for it.
        """
        self._carry_out = carry_out
        self._most = most
        self._pace = Pace(pace)
        self._queue: deque[tuple[C, Future[R]]] = deque()
        self._arrived = threading.Event()

    def submit(self, command: C) -> Future[R]:
        """Have a command carried out.

        Returns:
            Its answer, once it is durable, or what carrying it out alone raised; a fault of another command in the group does not count.
            A command whose future is cancelled before its group begins is not carried out.
        """
        future: Future[R] = Future()
        self._queue.append((command, future))
        self._arrived.set()
        return future

    def run(self, stop: threading.Event) -> None:
        """Carry out commands until `stop` is set, then those that are left."""
        while not stop.is_set():
            if self._arrived.wait(_STOP_POLL_SECONDS):
                self._pace.wait(stop)
                self._arrived.clear()
                self._carry_out_all()
        self._carry_out_all()

    def _carry_out_all(self) -> None:
        while group := self._next_group():
            if not self._try(group) and len(group) > 1:
                for each in group:
                    self._try([each])

    def _next_group(self) -> list[tuple[C, Future[R]]]:
        group: list[tuple[C, Future[R]]] = []
        while self._queue and len(group) < self._most:
            command, future = self._queue.popleft()
            if future.set_running_or_notify_cancel():
                group.append((command, future))
        return group

    def _try(self, group: Sequence[tuple[C, Future[R]]]) -> bool:
        """Carry out a group; False if nothing was done, of which a lone command is told why."""
        try:
            answers = self._carry_out([command for command, _ in group])
            pairs = list(zip(group, answers, strict=True))
        except BaseException as error:  # noqa: BLE001 - raised again where the command came from; unanswered, the caller would wait for ever
            if len(group) == 1:
                group[0][1].set_exception(error)
            return False
        for (_, future), answer in pairs:
            future.set_result(answer)
        return True
