"""A lock between processes that ends with its holder, however that dies."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from deploy.local.errors import InUseError

_POLL_SECONDS = 0.05


class DirectoryLock:
    """An exclusive ``flock`` on a file of a directory, by default ``.lock``.

    The kernel drops the lock when the last descriptor of it is closed. A guard process that inherits ``fd`` therefore
    keeps the directory locked until its part is gone, even when the run that started it was killed.
    """

    def __init__(self, directory: Path, file_name: str = ".lock") -> None:
        """Remember the file; nothing is opened yet."""
        self._directory = directory
        self._file_name = file_name
        self._fd: int | None = None

    @property
    def fd(self) -> int:
        """Descriptor to hand to a guard; only while the lock is held."""
        if self._fd is None:
            message = f"the lock of {self._directory} is not held"
            raise RuntimeError(message)
        return self._fd

    def acquire(self, patience: timedelta = timedelta(0)) -> None:
        """Take the lock, creating the directory when it is absent.

        Args:
            patience: How long to wait for another holder.

        Raises:
            InUseError: Somebody else still holds it after that time.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._directory / self._file_name, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            locked = _lock_within(fd, patience)
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
        except BaseException:
            os.close(fd)
            raise
        if not locked:
            os.close(fd)
            raise InUseError(self._directory, holder)
        os.truncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._fd = fd

    def release(self) -> None:
        """Give up this process's hold; nothing happens when there is none.

        The descriptor is closed rather than unlocked: unlocking would also take the lock from a guard that shares it.
        """
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    @contextlib.contextmanager
    def held(self, patience: timedelta = timedelta(0)) -> Iterator[None]:
        """Hold the lock for the length of a ``with`` block; see ``acquire``."""
        self.acquire(patience)
        try:
            yield
        finally:
            self.release()


def _lock_within(fd: int, patience: timedelta) -> bool:
    deadline = time.monotonic() + patience.total_seconds()
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
