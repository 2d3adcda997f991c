"""Dead letters: messages that cannot be handled, kept with their reason on `<topic>.dlq`."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from chassis.message import OutMessage, Record, new_id

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

SUFFIX = ".dlq"


def dead_letter_topic(topic: str) -> str:
    """Return the name of the dead-letter topic of `topic`."""
    return f"{topic}{SUFFIX}"


def dead_letter(record: Record, *, consumer: str, reason: str, detail: str, now: datetime) -> OutMessage:
    """Build the dead letter of a record: its key, value and headers as they were, and `dlq_*` headers that say what was wrong."""
    key = _printable(record.key or b"")
    return OutMessage(
        id=new_id(),
        topic=dead_letter_topic(record.topic),
        key=key,
        type="paidan.DeadLetter",
        subject=key,
        time=now,
        data=record.value or b"",
        verbatim_headers=(
            *((_without_nul(name), _printable(value or b"")) for name, value in record.headers),
            ("dlq_reason", reason),
            ("dlq_detail", _without_nul(detail)),
            ("dlq_topic", record.topic),
            ("dlq_partition", str(record.partition)),
            ("dlq_offset", str(record.offset)),
            ("dlq_consumer", consumer),
            ("dlq_time", now.isoformat()),
        ),
    )


def _printable(value: bytes) -> str:
    return _without_nul(value.decode(errors="backslashreplace"))


def _without_nul(text: str) -> str:
    """Write NUL out: the outbox, like any text in PostgreSQL, cannot hold it."""
    return text.replace("\x00", "\\x00")


class DeadLetterLimitReached(Exception):
    """Too many messages in a row cannot be handled: the fault is ours rather than theirs, and the topic must wait."""


class DeadLetterLimit:
    """Lets at most `most` dead letters pass in any `window`, so that a bad deployment stalls instead of emptying a topic."""

    def __init__(self, most: int, window: timedelta, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._window = window.total_seconds()
        self._monotonic = monotonic
        self._spent: deque[tuple[float, str]] = deque()

    def spend(self, position: str) -> None:
        """Count the message at a position of the log; the same one again, after a transaction that did not commit, counts once.

        Raises:
            DeadLetterLimitReached: One more than is allowed.
        """
        now = self._monotonic()
        while self._spent and self._spent[0][0] <= now - self._window:
            self._spent.popleft()
        if any(known == position for _, known in self._spent):
            return
        if len(self._spent) >= self._most:
            raise DeadLetterLimitReached
        self._spent.append((now, position))
