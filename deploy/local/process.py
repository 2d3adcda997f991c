"""Programs that run beside us and end with us, and waiting for them to be ready."""

import contextlib
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from deploy.local.errors import LocalPartError

_GUARD = Path(__file__).with_name("guard.py")
_POLL_SECONDS = 0.05
_READ_BYTES = 1_000_000
_ERROR = re.compile(r"\b(ERROR|FATAL)\b")
_SIGNALLED = 128
_SIGNALLED_CODES = range(_SIGNALLED + 1, _SIGNALLED + signal.NSIG)
_KILL_PATIENCE = timedelta(seconds=10)


class ManagedProcess:
    """One program under a guard (see ``guard``), its output appended to a log file.

    It may be started again after it has ended. ``stop`` and ``kill`` may come from any thread.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str] | None,
        log_path: Path,
        *,
        cwd: Path | None = None,
        hold: Sequence[int] = (),
    ) -> None:
        """Describe the program; nothing is started yet.

        Args:
            name: What errors call it.
            argv: Program, looked up on PATH, and arguments.
            env: Its whole environment; None passes ours on.
            log_path: Where its output goes; the directory must exist.
            cwd: Its working directory; None for ours.
            hold: Descriptors that stay open until it has ended, for locks.
        """
        self.name = name
        self.log_path = log_path
        self._argv = tuple(argv)
        self._env = None if env is None else dict(env)
        self._cwd = cwd
        self._hold = tuple(hold)
        self._guard: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._log_start = 0
        self._pid: int | None = None

    def start(self) -> None:
        """Start the program and return as soon as it has a process id.

        Raises:
            LocalPartError: It runs already, or the guard did not come up.
        """
        if self.alive:
            raise LocalPartError(self.name, f"runs already as process {self._pid}")
        self._close()
        self._control, theirs = socket.socketpair()
        with theirs, self.log_path.open("ab") as log:
            self._log_start = log.tell()
            self._guard = subprocess.Popen(
                # -I and -S: neither the environment nor files beside the guard change what it imports.
                [sys.executable, "-I", "-S", str(_GUARD), *self._argv],
                stdin=theirs.fileno(),
                stdout=log,
                stderr=log,
                env=self._env,
                cwd=self._cwd,
                pass_fds=self._hold,
                start_new_session=True,
            )
        with contextlib.suppress(ConnectionError):
            if answer := self._control.recv(32):
                self._pid = int(answer)
                return
        raise LocalPartError(self.name, "could not be started", log_tail=self.tail())

    @property
    def pid(self) -> int | None:
        """Process id of the program itself; None before the first start."""
        return self._pid

    @property
    def alive(self) -> bool:
        """Whether the program runs."""
        return self._guard is not None and self._guard.poll() is None

    @property
    def returncode(self) -> int | None:
        """Exit code as ``subprocess`` gives it: negative for a signal, None while running or never started.

        A program that catches a signal and exits with 128 plus its number, as Java does, counts as ended by it.
        """
        code = None if self._guard is None else self._guard.poll()
        return _SIGNALLED - code if code is not None and code in _SIGNALLED_CODES else code

    def send_signal(self, number: int) -> None:
        """Send a signal: SIGKILL to the program's whole group, others to the program alone.

        The guard sends it, which knows whether the process id is still the program's. Nothing happens when it is not.
        """
        if self._control is not None:
            with contextlib.suppress(OSError):
                self._control.send(bytes([number]))

    def stop(self, grace: timedelta, *, by: int = signal.SIGTERM) -> None:
        """Ask the program to end, and kill it when it has not after ``grace``.

        Args:
            grace: How long the program may take.
            by: The signal that it takes as the request.
        """
        self.send_signal(by)
        if not self._ended_within(grace):
            self.kill()
        self._close()

    def kill(self) -> None:
        """End the program's whole group at once and wait until it is gone."""
        self.send_signal(signal.SIGKILL)
        if not self._ended_within(_KILL_PATIENCE):
            raise LocalPartError(self.name, f"process {self._pid} survives SIGKILL")
        self._close()

    def tail(self, lines: int = 30) -> str:
        """Return the last lines written since the last start."""
        return "\n".join(self._written()[-lines:])

    def complaint(self, lines: int = 30) -> str:
        """Return what it wrote since the last start from its first error on, or the last lines when it tells of none.

        A server that fails writes on while it shuts down: the last lines alone seldom hold the reason.
        """
        written = self._written()
        first = next((i for i, line in enumerate(written) if _ERROR.search(line)), len(written))
        return "\n".join(written[first : first + lines] or written[-lines:])

    def _written(self) -> list[str]:
        if not self.log_path.exists():
            return []
        with self.log_path.open("rb") as log:
            end = log.seek(0, 2)
            log.seek(max(self._log_start, end - _READ_BYTES))
            return log.read().decode("utf-8", "replace").splitlines()

    def _ended_within(self, patience: timedelta) -> bool:
        if self._guard is None:
            return True
        try:
            self._guard.wait(patience.total_seconds())
        except subprocess.TimeoutExpired:
            return False
        return True

    def _close(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None


def wait_until(predicate: Callable[[], bool], timeout: timedelta, what: str, process: ManagedProcess) -> None:
    """Return as soon as the predicate holds.

    Args:
        predicate: Asked about every 50 ms; what it raises is passed on.
        timeout: How long to wait.
        what: What is waited for, as it reads after "no" in the error: ``answer to SELECT 1``.
        process: The program that is to bring it about.

    Raises:
        LocalPartError: The time is over, or the process has ended; with its first error, or the tail of its log.
    """
    deadline = time.monotonic() + timeout.total_seconds()
    while not predicate():
        if not process.alive:
            problem = f"ended with code {process.returncode} before there was {what}"
            raise LocalPartError(process.name, problem, log_tail=process.complaint())
        if time.monotonic() >= deadline:
            problem = f"no {what} within {timeout.total_seconds():g} s"
            raise LocalPartError(process.name, problem, log_tail=process.complaint())
        time.sleep(_POLL_SECONDS)
