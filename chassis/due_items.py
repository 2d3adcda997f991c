"""Process due items in batches, and item by item after a batch fails, so that one item does not stop the others.

    act on a batch ──fails──► act on each of its items alone ──one fails──► that one waits: 1 s, 2 s, 4 s … 1 min; the others are done

Backoffs are kept in memory, per process. They need no column in tables of different shapes, and two replicas cannot contend for an item:
each acts on what it can lock (`SKIP LOCKED`). A replica that takes over tries a failing item once more than a stored backoff would allow.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

import structlog

from chassis.transient import is_transient, ran_out_of_time

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from chassis.metrics import ChassisMetrics

log = structlog.get_logger()

_FIRST_BACKOFF = timedelta(seconds=1)
_LONGEST_BACKOFF = timedelta(minutes=1)
_MOST_PUSHED_BACK = 10_000
_SLOW_IN_A_ROW = 3
"""Number of time-outs in a row, without a success, after which the database counts as slow."""


class DueItems(Protocol):
    """A kind of item that falls due."""

    def act(self, size: int, *, without: Collection[str] = (), only: str | None = None) -> int:
        """Act on due items in one transaction, and commit it.

        Args:
            size: Most items to act on.
            without: Ids to leave out.
            only: The one id to act on, if it is still due; None for any.

        Returns:
            Number of items that were acted on.
        """
        ...

    def ids(self, size: int, *, without: Collection[str] = ()) -> Sequence[str]:
        """Return ids of due items, longest overdue first, without reading or locking more of them."""
        ...


@dataclass(slots=True)
class _PushedBack:
    """An item that failed.

    Attributes:
        backoff: Time between its last try and the next one.
        retry_at: Time of the next try by the monotonic clock, in seconds.
    """

    backoff: timedelta
    retry_at: float


class DueItemsTick:
    """The tick of a timer over due items."""

    def __init__(
        self,
        name: str,
        items: DueItems,
        metrics: ChassisMetrics,
        *,
        batch: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Act on `items`, at most `batch` in one transaction.

        Args:
            name: Name of the timer, for logs and metrics.
            items: What falls due.
            metrics: Where failures are counted.
            batch: Most items in one transaction.
            monotonic: Clock of the backoffs, in seconds.
        """
        self._name = name
        self._items = items
        self._batch = batch
        self._monotonic = monotonic
        self._pushed_back: dict[str, _PushedBack] = {}
        self._failures = metrics.due_item_failures.labels(name)
        self._waiting = metrics.due_items_pushed_back.labels(name)

    def __call__(self) -> int:
        """Act on one batch, and on failed items whose backoff has ended; return how many items were acted on.

        Raises:
            Exception: A transient database error, or an error that no single item causes.
        """
        acted = self._act_on_batch()
        acted += self._retry(database_works=acted > 0)
        self._waiting.set(len(self._pushed_back))
        return acted

    def _act_on_batch(self) -> int:
        without = list(self._pushed_back)
        try:
            return self._items.act(self._batch, without=without)
        except Exception as error:
            if is_transient(error) and not ran_out_of_time(error):
                raise
            ids = self._items.ids(self._batch, without=without)
            if not ids:
                raise
            log.warning("due_batch_split", timer=self._name, size=len(ids), error=type(error).__name__)
        return self._act_on_each(ids)

    def _retry(self, *, database_works: bool) -> int:
        now = self._monotonic()
        return self._act_on_each(
            [item for item, state in self._pushed_back.items() if state.retry_at <= now], database_works=database_works
        )

    def _act_on_each(self, ids: Sequence[str], *, database_works: bool = False) -> int:
        """Act on items one by one, and push those back that fail.

        Args:
            ids: The items.
            database_works: Whether others were acted on a moment ago, so that a time-out is due to the item.

        Raises:
            Exception: A transient error of the database. Items that timed out before it are set aside, so that the next batch is of others.
        """
        acted = 0
        slow: dict[str, Exception] = {}
        for item in ids:
            try:
                acted += self._items.act(1, only=item)
            except Exception as error:
                if ran_out_of_time(error):
                    slow[item] = error
                    if database_works:
                        # The others come first again, before the next one that may take as long.
                        break
                    if len(slow) == _SLOW_IN_A_ROW:
                        if acted:
                            break
                        self._set_aside(slow)
                        raise
                elif is_transient(error):
                    raise
                else:
                    self._push_back(item, error)
            else:
                self._pushed_back.pop(item, None)
        for item, reason in slow.items():
            self._push_back(item, reason)
        return acted

    def _set_aside(self, items: Iterable[str]) -> None:
        """Leave items out of batches until their next try, which comes soon: maybe the database is to blame."""
        for item in items:
            self._pushed_back[item] = _PushedBack(_FIRST_BACKOFF, self._monotonic() + _FIRST_BACKOFF.total_seconds())

    def _push_back(self, item: str, error: Exception) -> None:
        state = self._pushed_back.pop(item, None)
        backoff = _FIRST_BACKOFF if state is None else min(state.backoff * 2, _LONGEST_BACKOFF)
        if len(self._pushed_back) >= _MOST_PUSHED_BACK:
            self._pushed_back.pop(next(iter(self._pushed_back)))
        self._pushed_back[item] = _PushedBack(backoff, self._monotonic() + backoff.total_seconds())
        self._failures.inc()
        log.error("due_item_failed", timer=self._name, ticket_id=item, retry_in_seconds=backoff.total_seconds(), exc_info=error)
