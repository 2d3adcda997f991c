"""Starting, failing and stopping a process.

run(components)
│  every component runs in a thread of its own
│  SIGTERM, SIGINT or the first failure ends all
▼
drain: consumers leave their groups at once; the others in the given order: gRPC server, timers, the relay last, so that it publishes
what was accepted
▼
the first failure is raised again; a component that does not stop in time is left behind by a hard exit
"""

from __future__ import annotations

import ctypes
import gc
import os
import queue
import signal
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

import structlog

if TYPE_CHECKING:
    from collections.abc import Sequence

log = structlog.get_logger()

_HARD_EXIT_CODE = 70
_OBJECTS_BETWEEN_COLLECTIONS = 20_000
_M_ARENA_MAX = -8
"""The number by which glibc knows the parameter: https://man7.org/linux/man-pages/man3/mallopt.3.html"""
_ARENAS = 2
_TRIM_INTERVAL = timedelta(seconds=20)


class Component(Protocol):
    """Something that runs until `stop` is set.

    A component with a true attribute `stops_at_once` stops before its turn in the order: other replicas wait for its resources.
    """

    name: str

    def run(self, stop: threading.Event) -> None:
        """Run until `stop` is set, then finish what is in hand and return. Raising ends the process."""
        ...


class _Running:
    """A component in its thread."""

    def __init__(self, component: Component, ended: threading.Event) -> None:
        self.name = component.name
        self.stops_at_once: bool = getattr(component, "stops_at_once", False)
        self.failure: BaseException | None = None
        self.stop = threading.Event()
        self._component = component
        self._ended = ended
        self.thread = threading.Thread(target=self._run, name=component.name, daemon=True)

    def _run(self) -> None:
        try:
            self._component.run(self.stop)
        except BaseException as error:
            self.failure = error
            log.exception("component_failed", component=self.name)
        finally:
            self._ended.set()


def stop_on_signals(stop: threading.Event) -> None:
    """Let SIGTERM and SIGINT set `stop`. Call from the main thread.

    A handler runs inside the main thread at any place, also where that holds the lock of `stop` or is about to write a line of the log; so
    it only passes the signal on, by what is made for it: https://docs.python.org/3/library/queue.html#queue.SimpleQueue.put
    """
    arrived: queue.SimpleQueue[int] = queue.SimpleQueue()

    def heed() -> None:
        while True:
            number = arrived.get()
            log.info("stop_requested", signal=signal.Signals(number).name)
            stop.set()

    threading.Thread(target=heed, name="signals", daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: arrived.put(number))


def run(components: Sequence[Component], stop: threading.Event, *, grace: timedelta = timedelta(seconds=20)) -> None:
    """Run components until `stop` is set or one of them ends, then drain them in the order given.

    Args:
        components: What runs, in the order in which it is to stop.
        stop: Set from outside to end; set here when a component ends on its own.
        grace: Time for all of the draining; past it the process exits hard.

    Raises:
        BaseException: What the first failing component raised.
    """
    libc = ctypes.CDLL(None)
    _settle_memory(libc)
    running = [_Running(component, stop) for component in components]
    for each in running:
        each.thread.start()
    log.info("started", components=[each.name for each in running])
    _wait(stop, libc)
    _drain(running, grace)
    log.info("stopped")
    for each in running:
        if each.failure is not None:
            raise each.failure


def _settle_memory(libc: ctypes.CDLL) -> None:
    """Spare the garbage collector what was loaded so far, let it look less often, and let threads share their heaps.

    Batches make tens of thousands of objects that die by themselves; by its defaults the collector would walk them every 700. The C library
    would give each of some thirty threads, up to eight for a core, a heap of its own, and each keeps what its busiest moment needed.
    """
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_ARENA_MAX, _ARENAS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, 20, 20)


def _wait(stop: threading.Event, libc: ctypes.CDLL) -> None:
    """Wait for the end; meanwhile give back to the system now and then what a flood needed and nothing uses any more."""
    while not stop.wait(_TRIM_INTERVAL.total_seconds()):
        if hasattr(libc, "malloc_trim"):
            libc.malloc_trim(0)


def _drain(running: Sequence[_Running], grace: timedelta) -> None:
    end = time.monotonic() + grace.total_seconds()
    for each in running:
        if each.stops_at_once:
            each.stop.set()
    for each in running:
        each.stop.set()
        each.thread.join(max(0.1, end - time.monotonic()))
        if each.thread.is_alive():
            log.error("component_did_not_stop", component=each.name, grace_seconds=grace.total_seconds())
            os._exit(_HARD_EXIT_CODE)
