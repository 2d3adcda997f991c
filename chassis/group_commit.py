"""Group commit: commands that come while a transaction is under way share the next one.

caller 1 ─► [1] ──────commit──────►
callers 2, 3, 4 ─► wait ─► [2, 3, 4] ──one commit──►

A group that fails is retried command by command, so that one command does not fail the others. If the database is unavailable, all waiting
callers get the error at once instead. The number of callers bounds the memory: a caller that cancels leaves the queue.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Generic, TypeVar

import structlog

from chassis.pace import Pace
from chassis.transient import StoreUnavailable, is_away, ran_out_of_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import timedelta

C = TypeVar("C")
R = TypeVar("R")

log = structlog.get_logger()

_STOP_POLL_SECONDS = 0.1
_SECOND_TRY_WITHIN_SECONDS = 1.0
_SLOW_IN_A_ROW = 2
"""Number of commands in a row that time out alone after which the database counts as slow."""


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
        self._lock = threading.Lock()
        self._queue: dict[Future[R], C] = {}
        self._arrived = threading.Event()

    def submit(self, command: C) -> Future[R]:
        """Have a command carried out.

        Returns:
            A future of the response, once it is durable, or of the error that this command causes alone. The error is `StoreUnavailable` if
            the database is unavailable. A command whose future is cancelled before its group begins leaves the queue and is not executed.
        """
        future: Future[R] = Future()
        with self._lock:
            self._queue[future] = command
        future.add_done_callback(self._leave)
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

    def _leave(self, future: Future[R]) -> None:
        with self._lock:
            self._queue.pop(future, None)

    def _carry_out_all(self) -> None:
        while group := self._next_group(self._most):
            began = time.monotonic()
            error = self._try(group)
            if error is not None and is_away(error) and time.monotonic() - began < _SECOND_TRY_WITHIN_SECONDS:
                # After a restart of the server the pool holds dead connections; the failed try has removed them.
                error = self._try(group)
            if error is None:
                continue
            if is_away(error):
                self._fail_all([*group, *self._next_group(len(self._queue))], error)
            elif len(group) == 1:
                group[0][1].set_exception(error)
            else:
                self._try_each(group)

    def _try_each(self, group: Sequence[tuple[C, Future[R]]]) -> None:
        slow = 0
        for position, each in enumerate(group):
            error = self._try([each])
            if error is None:
                slow = 0
                continue
            slow += ran_out_of_time(error)
            if is_away(error) or slow == _SLOW_IN_A_ROW:
                self._fail_all(group[position:], error)
                return
            each[1].set_exception(error)

    def _fail_all(self, group: Iterable[tuple[C, Future[R]]], error: BaseException) -> None:
        futures = [future for _, future in group]
        log.warning("group_failed", size=len(futures), error=type(error).__name__)
        for future in futures:
            unavailable = StoreUnavailable()
            unavailable.__cause__ = error
            future.set_exception(unavailable)

    def _next_group(self, most: int) -> list[tuple[C, Future[R]]]:
        group: list[tuple[C, Future[R]]] = []
        while len(group) < most:
            with self._lock:
                future = next(iter(self._queue), None)
                if future is None:
                    break
                command = self._queue.pop(future)
            if future.set_running_or_notify_cancel():
                group.append((command, future))
        return group

    def _try(self, group: Sequence[tuple[C, Future[R]]]) -> BaseException | None:
        """Execute a group; return the error if nothing was committed."""
        try:
            answers = self._carry_out([command for command, _ in group])
            pairs = list(zip(group, answers, strict=True))
        except BaseException as error:  # noqa: BLE001 - raised again where the command came from; unanswered, the caller would wait for ever
            return error
        for (_, future), answer in pairs:
            future.set_result(answer)
        return None
