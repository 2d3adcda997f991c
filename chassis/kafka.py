"""What the producer and the consumer have in common."""

from __future__ import annotations

from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

METADATA_TIMEOUT = timedelta(seconds=3)
REQUEST_TIMEOUT = timedelta(seconds=8)


def milliseconds(duration: timedelta) -> int:
    """Return a duration as the client wants it."""
    return int(duration / timedelta(milliseconds=1))


CLIENT_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        # The protocol is pinned so that clients can be built while the brokers are away.
        "api_version": (2, 6),
        "request_timeout_ms": milliseconds(REQUEST_TIMEOUT),
        "reconnect_backoff_max_ms": 1000,
        "allow_auto_create_topics": False,
        "metrics_enabled": False,
    },
)
"""Options of every client."""
