"""What processes cost, from `/proc`: CPU time and memory."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

OURSELVES = "bench: this process"
OTHERS = "anything else here"
"""Names in `CpuMeter.seconds`."""

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")
_MEGABYTE = 1_000_000
# Fields of /proc/<pid>/stat after the name, counted from 0; see proc_pid_stat(5).
_PARENT = 1
_CPU_WITH_DEAD_CHILDREN = slice(11, 15)
# Fields of the first line of /proc/stat: user, nice, system, interrupts, soft interrupts; not idle, waiting or stolen time.
_BUSY = (0, 1, 2, 5, 6)


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of a process, in MB of 10⁶ bytes.

    Attributes:
        rss: Resident set: everything of it that is in memory, shared pages in full.
        pss: Proportional set: pages shared with other processes counted in part.
    """

    rss: float
    pss: float


def memory(pid: int) -> Memory:
    """Return the memory of a process now.

    Raises:
        OSError: It has ended, or is another user's.
    """
    kilobytes: dict[str, int] = {}
    for line in (_PROC / str(pid) / "smaps_rollup").read_text("ascii").splitlines()[1:]:
        name, value = line.split(":")
        kilobytes[name] = int(value.split()[0])
    return Memory(*(kilobytes[name] * 1024 / _MEGABYTE for name in ("Rss", "Pss")))


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process and its children have used, those that have ended included; 0 if it is gone."""
    parents: dict[int, list[int]] = {}
    used: dict[int, float] = {}
    for folder in _PROC.iterdir():
        if folder.name.isdigit() and (fields := _stat(int(folder.name))) is not None:
            child = int(folder.name)
            parents.setdefault(int(fields[_PARENT]), []).append(child)
            used[child] = sum(int(field) for field in fields[_CPU_WITH_DEAD_CHILDREN]) / _TICKS_PER_SECOND
    total, family = 0.0, [pid]
    while family:
        member = family.pop()
        total += used.get(member, 0.0)
        family += parents.get(member, [])
    return total


def _stat(pid: int) -> list[str] | None:
    try:
        content = (_PROC / str(pid) / "stat").read_text("utf-8", "replace")
    except OSError:
        return None
    return content.rpartition(")")[2].split()


def _machine_cpu_seconds() -> float:
    """Return the CPU time that this machine has spent on processes and the kernel."""
    fields = (_PROC / "stat").read_text("ascii").splitlines()[0].split()[1:]
    return sum(int(fields[position]) for position in _BUSY) / _TICKS_PER_SECOND


class CpuMeter:
    """CPU time that named processes use between two points in time."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        """Start measuring: name → process id; a process stands for its children too."""
        self._pids = pids
        self._before = self._now()
        self._machine_before = _machine_cpu_seconds()

    def seconds(self) -> Mapping[str, float]:
        """Return the CPU seconds of each since the start, and under `OTHERS` what the rest of the machine used."""
        used = {name: seconds - self._before[name] for name, seconds in self._now().items()}
        return {**used, OTHERS: max(0.0, _machine_cpu_seconds() - self._machine_before - sum(used.values()))}

    def _now(self) -> Mapping[str, float]:
        # Not our whole family: what we started are our children too.
        return {**{name: cpu_seconds(pid) for name, pid in self._pids.items()}, OURSELVES: time.process_time()}
