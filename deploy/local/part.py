"""What every local part does alike: lock its directory, start, stop, die and start again."""

import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from deploy.local.errors import LocalPartError
from deploy.local.lock import DirectoryLock
from deploy.local.ports import free_port
from deploy.local.process import ManagedProcess

# A killed run's guards need a moment to end their programs; until then they hold the locks of its directories.
_LEFTOVER_PATIENCE = timedelta(seconds=5)
_STOP_GRACE = timedelta(seconds=15)


class LocalPart(ABC):
    """A server on 127.0.0.1 with a directory of its own, to be started, stopped, killed and started again.

    Data and port stay the same from one start of the object to the next. As a context manager it is started on entry
    and stopped on exit.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[int] = signal.SIGTERM

    def __init__(self, data_dir: Path, *, port: int | None = None) -> None:
        """Describe the part; nothing is started or written yet.

        Args:
            data_dir: Directory for its data and log; created on the first start.
            port: TCP port to listen on; None takes a free one on the first start.
        """
        self.data_dir = data_dir.absolute()
        self._port = port
        self._lock = DirectoryLock(self.data_dir)
        self._process: ManagedProcess | None = None

    @property
    def port(self) -> int:
        """TCP port on 127.0.0.1; known from the first start on."""
        if self._port is None:
            raise LocalPartError(self.name, "has no port before its first start")
        return self._port

    @property
    def log_path(self) -> Path:
        """File with everything that the part has written."""
        return self.data_dir / f"{self.name}.log"

    @property
    def process(self) -> ManagedProcess:
        """The process of the latest start."""
        if self._process is None:
            raise LocalPartError(self.name, "has not been started")
        return self._process

    @property
    def alive(self) -> bool:
        """Whether the server's process runs."""
        return self._process is not None and self._process.alive

    def start(self) -> None:
        """Start the server and return when it answers a real request; nothing happens when it runs already.

        Raises:
            LocalPartError: It did not become ready; with the tail of its log.
            MissingToolError: This machine lacks something that the part needs.
            InUseError: Another run uses the directory.
        """
        if self.alive:
            return
        self._lock.release()
        self._lock.acquire(_LEFTOVER_PATIENCE)
        try:
            self._port = self._port or free_port()
            self._launch()
        except BaseException:
            self.kill()
            raise

    def restart(self) -> None:
        """Restart the server after it has ended; the same as `start`."""
        self.start()

    def stop(self) -> None:
        """Shut the server down in order; kill it when it takes longer than 15 s."""
        try:
            if self._process is not None:
                self._process.stop(_STOP_GRACE, by=self.stop_signal)
        finally:
            self._lock.release()

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would, and wait until its process is gone."""
        try:
            if self._process is not None:
                self._process.kill()
        finally:
            self._lock.release()

    def _run(self, argv: list[str], *, environment: Mapping[str, str] | None = None) -> ManagedProcess:
        """Start the server's process; it keeps the directory locked for as long as it lives."""
        if self._process is not None:
            self._process.kill()
        self._process = ManagedProcess(self.name, argv, environment, self.log_path, cwd=self.data_dir, hold=[self._lock.fd])
        self._process.start()
        return self._process

    @abstractmethod
    def _launch(self) -> None:
        """Prepare the directory, call ``_run`` and wait for health."""

    def __enter__(self) -> Self:
        """Start the server."""
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the server."""
        self.stop()
