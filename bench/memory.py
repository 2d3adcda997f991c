"""Memory of the services when they are idle after load."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.processes import Memory, memory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.system import System

_IDLE_SECONDS = 5.0
_SETTLE_PATIENCE_SECONDS = 120.0
_BARE = "import grpc, sqlalchemy, kafka, sys; print(flush=True); sys.stdin.read()"


@dataclass(frozen=True, slots=True)
class MemoryFigures:
    """Memory beside its floor.

    Attributes:
        services: Service → its memory.
        bare: Floor: an interpreter that has imported gRPC, SQLAlchemy and the Kafka client, and nothing else.
    """

    services: Mapping[str, Memory]
    bare: Memory


def measure_memory(system: System) -> MemoryFigures:
    """Wait until nothing is under way, let the services be idle for a while, and look."""
    with system.screen.step("letting the services be idle"):
        system.settle(patience=_SETTLE_PATIENCE_SECONDS)
        time.sleep(_IDLE_SECONDS)
    return MemoryFigures({name: memory(pid) for name, pid in system.pids.items()}, _bare())


def _bare() -> Memory:
    with subprocess.Popen([sys.executable, "-c", _BARE], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603 - this interpreter
        if process.stdout is None or process.stdin is None:
            raise RuntimeError("no pipes")
        process.stdout.readline()
        try:
            return memory(process.pid)
        finally:
            process.stdin.close()
