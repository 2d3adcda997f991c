"""Objects that live in a process of their own, so that neither what measures nor what is measured waits for the other's interpreter.

our process ── pipe: (method, arguments) ──► worker process: target.method(*arguments)
            ◄── pipe: answer or error ─────
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from types import TracebackType

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")

_START_PATIENCE_SECONDS = 60.0
_END_PATIENCE_SECONDS = 5.0


class WorkerError(Exception):
    """A worker's method raised, or the worker is gone; the message holds its traceback."""


class Call(Generic[R]):
    """A method call under way in a worker. A worker carries out one at a time."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._name = name

    def wait(self, seconds: float) -> bool:
        """Wait at most that long; True if the answer is there."""
        return self._connection.poll(seconds)

    def result(self) -> R:
        """Wait for the answer and return it.

        Raises:
            WorkerError: The method raised, or the worker is gone.
        """
        try:
            fine, answer = self._connection.recv()
        except (EOFError, ConnectionError) as error:
            raise WorkerError(f"the worker {self._name} ended") from error
        if not fine:
            raise WorkerError(f"in the worker {self._name}: {answer}")
        return answer  # type: ignore[no-any-return]  # what the method returned


class Worker(Generic[T]):
    """A process around one object; ended with the `with` block, and with us however we end."""

    def __init__(self, name: str, make: Callable[..., T], *arguments: object) -> None:
        """Describe the worker: `make(*arguments)` is called in its process; all must be picklable."""
        self._name = name
        context = multiprocessing.get_context("spawn")
        self._connection, self._theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(self._theirs, make, arguments), name=f"bench-{name}", daemon=True)

    @property
    def pid(self) -> int:
        """Its process id."""
        if self._process.pid is None:
            message = f"the worker {self._name} was not started"
            raise RuntimeError(message)
        return self._process.pid

    def begin(self, method: Callable[Concatenate[T, P], R], *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """Begin a call of a method of the object's class and return at once."""
        self._connection.send((getattr(method, "__name__", ""), args, kwargs))
        return Call(self._connection, self._name)

    def call(self, method: Callable[Concatenate[T, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a method of the object's class and wait for the answer.

        Raises:
            WorkerError: It raised, or the worker is gone.
        """
        return self.begin(method, *args, **kwargs).result()

    def __enter__(self) -> Self:
        """Start the process and wait until the object is made."""
        self._process.start()
        self._theirs.close()
        if not self._connection.poll(_START_PATIENCE_SECONDS):
            self.close()
            raise WorkerError(f"the worker {self._name} did not start")
        try:
            Call[None](self._connection, self._name).result()
        except WorkerError:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the process."""
        self.close()

    def close(self) -> None:
        """End the process, by force if it does not go."""
        self._connection.close()
        self._process.terminate()
        self._process.join(_END_PATIENCE_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _serve(connection: Connection, make: Callable[..., Any], arguments: tuple[object, ...]) -> None:
    # Ctrl-C goes to the whole group of processes: ours to decide is the parent's.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        target = make(*arguments)
    except Exception:  # noqa: BLE001 - told to the parent
        connection.send((False, traceback.format_exc()))
        return
    connection.send((True, None))
    while True:
        try:
            name, args, kwargs = connection.recv()
        except (EOFError, ConnectionError):
            return
        try:
            answer = (True, getattr(target, name)(*args, **kwargs))
        except Exception:  # noqa: BLE001 - told to the parent
            answer = (False, traceback.format_exc())
        connection.send(answer)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
