"""Dead letters: messages that cannot be handled, kept with their reason on `<topic>.dlq`."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chassis.message import OutMessage, Record, Unreadable, new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta

SUFFIX = ".dlq"
PREFIX = "dlq_"
"""Prefix of the headers that a dead letter adds to those of its record."""
KEY = "dlq_key"
TRUNCATED = "dlq_truncated"


def dead_letter_topic(topic: str) -> str:
    """Return the name of the dead-letter topic of `topic`."""
    return f"{topic}{SUFFIX}"


@dataclass(frozen=True, slots=True)
class _Kept:
    """Limits on what a dead letter keeps of a record, in bytes of UTF-8 unless another unit is named.

    With its own headers a dead letter stays below 1 MiB uncompressed, the lower of the default limits of brokers and producers
    (`message.max.bytes`, `max.request.size`).
    """

    value: int = 900 * 1024
    part_of_value: int = 64 * 1024
    """Kept part of a longer value. Such a dead letter cannot be redriven; the part shows an operator what it was."""
    key: int = 1024
    headers: int = 64
    """Number of headers."""
    header_name: int = 256
    header_value: int = 4 * 1024
    all_headers: int = 48 * 1024
    detail: int = 2 * 1024


KEPT = _Kept()


def dead_letter(record: Record, *, consumer: str, reason: str, detail: str, now: datetime) -> OutMessage:
    """Build the dead letter of a record: its value and headers within limits, and `dlq_*` headers with the cause.

    The key of the dead letter is the position of the record, so that a sender's key cannot decide which messages wait behind it. `dlq_key`
    holds the key of the record. `dlq_truncated` names the parts that were cut, and is absent if none was.
    """
    value = record.value or b""
    whole_value = len(value) <= KEPT.value and not isinstance(value, Unreadable)
    key = _Cut.of(_printable(record.key or b""), KEPT.key)
    headers, all_kept = _kept_headers(record.headers)
    cut = [
        part
        for part, whole in (
            ("value", whole_value),
            ("key", key.whole),
            ("headers", all_kept),
        )
        if not whole
    ]
    position = f"{record.topic}/{record.partition}/{record.offset}"
    return OutMessage(
        id=new_id(),
        topic=dead_letter_topic(record.topic),
        key=position,
        type="paidan.DeadLetter",
        subject=position,
        time=now,
        data=bytes(value if whole_value else value[: KEPT.part_of_value]),
        verbatim_headers=(
            *headers,
            ("dlq_reason", reason),
            ("dlq_detail", _Cut.of(_without_nul(detail), KEPT.detail).text),
            ("dlq_topic", record.topic),
            ("dlq_partition", str(record.partition)),
            ("dlq_offset", str(record.offset)),
            (KEY, key.text),
            ("dlq_value_bytes", str(value.size if isinstance(value, Unreadable) else len(value))),
            *(((TRUNCATED, ",".join(cut)),) if cut else ()),
            ("dlq_consumer", consumer),
            ("dlq_time", now.isoformat()),
        ),
    )


def _kept_headers(headers: Sequence[tuple[str, bytes]]) -> tuple[list[tuple[str, str]], bool]:
    """Return the headers that a dead letter keeps, and whether none was cut or dropped. Headers of an earlier dead letter are omitted."""
    kept: list[tuple[str, str]] = []
    left, all_kept = KEPT.all_headers, True
    for name, value in headers:
        if name.startswith(PREFIX):
            continue
        short_name = _Cut.of(_without_nul(name), KEPT.header_name)
        short_value = _Cut.of(_printable((value or b"")[: KEPT.header_value + 1]), KEPT.header_value)
        left -= len(short_name.text.encode()) + len(short_value.text.encode())
        if left < 0 or len(kept) == KEPT.headers:
            return kept, False
        all_kept &= short_name.whole and short_value.whole
        kept.append((short_name.text, short_value.text))
    return kept, all_kept


@dataclass(frozen=True, slots=True)
class _Cut:
    """A text that was cut to a number of bytes.

    Attributes:
        whole: Whether nothing was cut.
    """

    text: str
    whole: bool

    @classmethod
    def of(cls, text: str, most: int) -> _Cut:
        """Cut `text` to at most `most` bytes of UTF-8, between characters."""
        raw = text.encode()
        return cls(text, whole=True) if len(raw) <= most else cls(raw[:most].decode(errors="ignore"), whole=False)


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
