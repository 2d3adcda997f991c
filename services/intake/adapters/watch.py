"""Live changes for those who watch: one thread reads for all of them; a watcher costs a queue, not a thread.

commit here ──nudge──►┐
every 250 ms ────────►│ hub: one query for all watched tickets ──► bounded queue of each watcher ──► its coroutine
└  what other replicas committed is found by the query
"""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from chassis.gate import answering_within
from chassis.transient import is_transient
from services.intake.domain.errors import TicketNotFound, VersionAhead
from services.intake.domain.types import ENDED, TicketId, Version

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from chassis.caller import Caller
    from services.intake.application.ports import ChangeLog
    from services.intake.domain.ticket import Change

log = structlog.get_logger()

_QUEUE_LENGTH = 128
_CHANGES_PER_READ = 2000
_LEAST_PAUSE_SECONDS = 0.02
_FIRST_BACKOFF_SECONDS = 0.25
_LONGEST_BACKOFF_SECONDS = 2.0
_OPEN_WITHIN = timedelta(seconds=5)


class _Watcher:
    """One watcher's place in the log. The hub's thread fills, the watcher's coroutine empties.

    What there is no room for is left in the log and found again from `queued` when there is: nothing is dropped, nothing piles up.
    """

    def __init__(self, ticket_id: TicketId, after: Version) -> None:
        self.ticket_id = ticket_id
        self.queued = after
        self.behind = False
        self.queue: asyncio.Queue[Change] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        # Each is written by one thread alone.
        self._given = 0
        self._taken = 0

    @property
    def room(self) -> int:
        return _QUEUE_LENGTH - (self._given - self._taken)

    def offer(self, changes: Sequence[Change]) -> None:
        """Queue those changes that come after what is queued, as many as there is room for; called by the hub."""
        fresh = [change for change in changes if change.version > self.queued]
        fitting = fresh[: self.room]
        self.behind = len(fitting) < len(fresh)
        if fitting:
            self.queued = fitting[-1].version
            self._given += len(fitting)
            with suppress(RuntimeError):  # its event loop has ended, and it with it
                self._loop.call_soon_threadsafe(self._put, fitting)

    def _put(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self.queue.put_nowait(change)

    async def take(self) -> Change:
        change = await self.queue.get()
        self._taken += 1
        return change


class WatchHub:
    """Finds changes and hands them to watchers: a component."""

    name = "watch"

    def __init__(self, changes: ChangeLog, *, interval: timedelta) -> None:
        self._changes = changes
        self._interval = interval.total_seconds()
        self._lock = threading.Lock()
        self._watchers: dict[TicketId, set[_Watcher]] = {}
        self._nudged = threading.Event()
        self._openers = ThreadPoolExecutor(2, thread_name_prefix="watch-open")

    def nudge(self) -> None:
        """Look for changes now: something was committed here."""
        self._nudged.set()

    def run(self, stop: threading.Event) -> None:
        """Deliver changes until `stop` is set. While the database is unavailable, streams stay open and pause."""
        backoff = _FIRST_BACKOFF_SECONDS
        while not stop.is_set():
            self._nudged.wait(self._interval)
            self._nudged.clear()
            try:
                self._hand_out()
            except Exception as error:
                if not is_transient(error):
                    raise
                log.warning("watch_lost_database", error=type(error).__name__, pause_seconds=backoff)
                stop.wait(backoff)
                backoff = min(backoff * 2, _LONGEST_BACKOFF_SECONDS)
            else:
                backoff = _FIRST_BACKOFF_SECONDS
            time.sleep(_LEAST_PAUSE_SECONDS)
        self._openers.shutdown(wait=False, cancel_futures=True)

    def _hand_out(self) -> None:
        with self._lock:
            watched = {
                ticket_id: ready
                for ticket_id, watchers in self._watchers.items()
                if (ready := [watcher for watcher in watchers if watcher.room > 0])
            }
        if not watched:
            return
        positions = {ticket_id: Version(min(watcher.queued for watcher in watchers)) for ticket_id, watchers in watched.items()}
        found: dict[TicketId, list[Change]] = {}
        changes = self._changes.since(positions, _CHANGES_PER_READ)
        for change in changes:
            found.setdefault(change.ticket_id, []).append(change)
        for ticket_id, of_ticket in found.items():
            for watcher in watched[ticket_id]:
                watcher.offer(of_ticket)
        if len(changes) == _CHANGES_PER_READ:
            self._nudged.set()

    async def watch(self, reference: str, caller: Caller, after: Version) -> AsyncGenerator[Change, None]:
        """Yield a ticket's changes after a version, in order, until it is closed, withdrawn or declined.

        Raises:
            TicketNotFound: There is none, or it is not the caller's.
            StoreUnavailable: The database does not answer in time.
            VersionAhead: The ticket has not reached that version.
        """
        loop = asyncio.get_running_loop()
        async with answering_within(_OPEN_WITHIN):
            standing = await loop.run_in_executor(self._openers, self._changes.standing_of, reference, caller)
        if standing is None:
            raise TicketNotFound(reference)
        if after > standing.version:
            raise VersionAhead(standing.version)
        if standing.state in ENDED and after >= standing.version:
            return
        watcher = _Watcher(standing.ticket_id, after)
        with self._lock:
            self._watchers.setdefault(watcher.ticket_id, set()).add(watcher)
        self.nudge()
        try:
            while True:
                change = await watcher.take()
                yield change
                # A final state of the past may have been left again by a reopening.
                if change.state in ENDED and change.version >= standing.version:
                    return
                if watcher.behind and watcher.queue.empty():
                    self.nudge()
        finally:
            self._forget(watcher)

    def _forget(self, watcher: _Watcher) -> None:
        with self._lock:
            watchers = self._watchers[watcher.ticket_id]
            watchers.discard(watcher)
            if not watchers:
                del self._watchers[watcher.ticket_id]
