"""What can go wrong while real parts are started, each error with its facts as attributes."""

from collections.abc import Mapping, Sequence
from pathlib import Path


class LocalPartError(Exception):
    """A local part could not be made ready, or died.

    Attributes:
        part: Name of the part, for example ``kafka``.
        problem: What is wrong, without a final full stop.
        remedy: What the reader can do about it; empty when nothing specific is known.
        log_tail: What the part wrote from its first error on, or its last lines; empty when it wrote none.
    """

    def __init__(self, part: str, problem: str, *, remedy: str = "", log_tail: str = "") -> None:
        """Keep the facts; see the class for their meaning."""
        super().__init__(part, problem, remedy, log_tail)
        self.part = part
        self.problem = problem
        self.remedy = remedy
        self.log_tail = log_tail

    def __str__(self) -> str:
        """Return one line, followed by the log's tail when there is one."""
        line = f"{self.part}: {self.problem}" + (f"; {self.remedy}" if self.remedy else "")
        return f"{line}\n{self.log_tail}" if self.log_tail else line


class MissingToolError(LocalPartError):
    """A program or a wheel that a part needs is not on this machine.

    Attributes:
        tool: What is needed, with the version where that matters.
    """

    def __init__(self, part: str, tool: str, *, found: str = "", remedy: str) -> None:
        """Build the sentence from what is needed and what was found instead."""
        super().__init__(part, f"needs {tool}, found {found or 'none'}", remedy=remedy)
        self.tool = tool


class InUseError(LocalPartError):
    """Another process holds a directory.

    Attributes:
        directory: The directory that is in use.
        holder: Process id of who holds it, as written into the lock file; empty when unknown.
    """

    def __init__(self, directory: Path, holder: str) -> None:
        """Name the directory and who holds it."""
        super().__init__(
            "local",
            f"{directory} is in use by process {holder or 'unknown'}",
            remedy="stop that run first or give this one a directory of its own",
        )
        self.directory = directory
        self.holder = holder


class PortsTakenError(LocalPartError):
    """Other processes listen on requested ports.

    Attributes:
        holders: What the port is for, as ``50051 (intake, RPCs)`` → who listens on it.
    """

    def __init__(self, holders: Mapping[str, str]) -> None:
        """Name each port and who listens on it."""
        taken = ", ".join(f"port {port} is taken by {holder}" for port, holder in holders.items())
        super().__init__("local", taken, remedy="nothing was started")
        self.holders = dict(holders)


class CacheMismatchError(LocalPartError):
    """Downloaded files do not have the hashes that the repository asks for, even when fetched afresh.

    Attributes:
        files: Names of the files that are absent or differ.
    """

    def __init__(self, files: Sequence[str]) -> None:
        """Name the files that are absent or differ."""
        super().__init__(
            "kafka",
            f"downloaded twice, and still absent or not as listed in SHA256SUMS: {', '.join(files)}",
            remedy="check what your Maven settings use as a mirror; if pom.xml was changed, write SHA256SUMS anew",
        )
        self.files = tuple(files)
