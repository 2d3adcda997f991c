"""Instants: aware UTC datetimes inside, protobuf Timestamps outside."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp


def to_timestamp(instant: datetime | None) -> Timestamp | None:
    """Return an aware instant as a Timestamp; None stays None."""
    if instant is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(instant)
    return timestamp


def to_instant(timestamp: Timestamp) -> datetime | None:
    """Return a Timestamp as an aware instant in UTC, or None if it is unset.

    Raises:
        ValueError: Out of the range of years 1–9999.
    """
    if timestamp.seconds == 0 and timestamp.nanos == 0:
        return None
    return timestamp.ToDatetime(UTC)
