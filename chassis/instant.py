"""Instants: aware UTC datetimes inside, protobuf Timestamps outside, within one range for every service."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

EARLIEST = datetime(1992, 1, 1, tzinfo=UTC)
"""First instant that a request may name: Asia/Shanghai has had one offset since (IANA time zone database)."""
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
"""First instant after the range."""
RANGE = f"is out of range, must be in {EARLIEST.year}–{LATEST.year - 1}"
"""Description of a violation of the range."""


def to_timestamp(instant: datetime | None) -> Timestamp | None:
    """Return an aware instant as a Timestamp; None stays None."""
    if instant is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(instant)
    return timestamp


def to_instant(timestamp: Timestamp) -> datetime | None:
    """Return a Timestamp as an aware instant in UTC, or None if it is unset (zero).

    Raises:
        ValueError: It is outside of `EARLIEST`–`LATEST`, or its nanoseconds are.
    """
    if timestamp.seconds == 0 and timestamp.nanos == 0:
        return None
    try:
        return _within(timestamp.ToDatetime(UTC))
    except OverflowError as error:
        raise ValueError(RANGE) from error


def parse_instant(text: str) -> datetime:
    """Return an instant written as ISO 8601 with its offset, in UTC.

    Raises:
        ValueError: The text is not ISO 8601, has no offset, or is outside of `EARLIEST`–`LATEST`.
    """
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            raise ValueError(text)
        return _within(found.astimezone(UTC))
    except OverflowError as error:
        raise ValueError(RANGE) from error


def _within(instant: datetime) -> datetime:
    if not EARLIEST <= instant < LATEST:
        raise ValueError(RANGE)
    return instant
