"""Restarts the processes of a stack that have ended, each independently of the others."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from deploy.local.errors import LocalPartError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from deploy.local.process import ManagedProcess

_POLL_SECONDS = 0.2
_FIRST_BACKOFF_SECONDS = 0.5
# Short enough that tickets flow within 10 s after a fault, long enough to leave CPU time to the other processes.
_LONGEST_BACKOFF_SECONDS = 5.0
# A child that ran for this time has recovered: its next end counts as the first.
_STABLE_SECONDS = 30.0
_SHOW_ERROR_AT = 3
_ERROR_LINES = 8
_JOIN_SECONDS = 0.2
_SIGNALS = frozenset(signal.Signals)


class Child(Protocol):
    """A process that the supervisor watches."""

    @property
    def name(self) -> str:
        """Name in messages."""
        ...

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        ...

    @property
    def process(self) -> ManagedProcess:
        """The process of the latest start."""
        ...

    def restart(self) -> None:
        """Start the process and return when it is ready.

        Raises:
            LocalPartError: It did not become ready.
        """
        ...

    def kill(self) -> None:
        """End the process at once."""
        ...


def backoff_seconds(failures: int) -> float:
    """Return the pause before a restart: none after the first exit in a row, then 0.5 s, doubled up to 5 s."""
    return 0.0 if failures <= 1 else min(_FIRST_BACKOFF_SECONDS * 2 ** (failures - 2), _LONGEST_BACKOFF_SECONDS)


@contextmanager
def supervised(children: Sequence[Child], on_progress: Callable[[str], None]) -> Iterator[None]:
    """Restart children that end, for the length of the `with` block.

    Each child has its own thread, so that a slow start of one does not delay another. After the block no restart runs or begins. The
    caller stops the children that still run.

    Args:
        children: What to watch.
        on_progress: Receives a line for each exit, each restart, and the last error of a child that exits repeatedly. Called from any
            thread.
    """
    stopping = threading.Event()
    threads = [(child, threading.Thread(target=_watch, args=(child, stopping, on_progress), daemon=True)) for child in children]
    for _, thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopping.set()
        for child, thread in threads:
            thread.join(_JOIN_SECONDS)
            while thread.is_alive():
                child.kill()
                thread.join(_JOIN_SECONDS)


def _watch(child: Child, stopping: threading.Event, on_progress: Callable[[str], None]) -> None:
    failures, ready_since = 0, monotonic()
    problem = ""
    while not stopping.wait(_POLL_SECONDS):
        if child.alive:
            continue
        failures = 1 if monotonic() - ready_since >= _STABLE_SECONDS else failures + 1
        pause = backoff_seconds(failures)
        on_progress(f"{child.name} {problem or _ending(child.process)}: starting it again{f' in {pause:g} s' if pause else ''}")
        if failures == _SHOW_ERROR_AT:
            on_progress(f"{child.name} has ended {failures} times in a row; {_last_error(child.process)}")
        if stopping.wait(pause):
            return
        begin, problem = monotonic(), ""
        try:
            child.restart()
        except LocalPartError as error:
            problem = error.problem
        except Exception as error:  # noqa: BLE001 - a child can be killed, by whomever, at any point of its start; it is tried again
            if stopping.is_set():
                return
            problem = f"did not start ({type(error).__name__}: {str(error).partition(chr(10))[0]})"
        else:
            on_progress(f"{child.name} is ready again after {monotonic() - begin:.1f} s")
        if problem and child.alive:
            on_progress(f"{child.name}: {problem}; it runs on; see {child.process.log_path}")
            problem = ""
        ready_since = monotonic()


def _ending(process: ManagedProcess) -> str:
    code = process.returncode
    if code is None or code >= 0:
        return f"ended with code {code}"
    # Real-time signals have no name.
    return f"was ended by {signal.Signals(-code).name if -code in _SIGNALS else f'signal {-code}'}"


def _last_error(process: ManagedProcess) -> str:
    return f"its last error, from {process.log_path}:\n{process.complaint(_ERROR_LINES)}"
