"""Instants and Timestamps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.instant import to_instant, to_timestamp

NOW = datetime(2026, 11, 23, 1, 2, 3, 456789, UTC)


def test_an_instant_survives_the_way_there_and_back() -> None:
    assert to_instant(to_timestamp(NOW)) == NOW


def test_the_zone_of_an_instant_does_not_matter() -> None:
    assert to_timestamp(NOW.astimezone(timezone(timedelta(hours=8)))) == to_timestamp(NOW)


def test_what_is_absent_stays_absent() -> None:
    assert to_timestamp(None) is None
    assert to_instant(Timestamp()) is None


@pytest.mark.parametrize("timestamp", [Timestamp(seconds=2**60), Timestamp(seconds=-(2**60)), Timestamp(seconds=1, nanos=-1)])
def test_what_is_no_time_is_refused(timestamp: Timestamp) -> None:
    with pytest.raises(ValueError, match="Timestamp is not valid"):
        to_instant(timestamp)
