"""What the chassis's tests are built from."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chassis.message import new_id

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW_MS = 1_795_395_600_000
"""2026-11-23T01:00:00Z, in milliseconds since 1970."""


@dataclass
class ARecord:
    """A record as the Kafka client hands it over."""

    value: bytes | None
    key: bytes | None = b"k"
    headers: Sequence[tuple[str, bytes]] = ()
    offset: int = field(default_factory=itertools.count().__next__)
    topic: str = "in"
    partition: int = 0
    timestamp: int = NOW_MS


def with_id(body: str, message_id: str | None = None, **changed: Any) -> ARecord:
    headers = [("ce_id", (message_id or new_id()).encode()), ("ce_type", b"probe.Told"), ("x", b"y")]
    return ARecord(body.encode(), **{"headers": headers, **changed})


class Monotonic:
    """A monotonic clock that advances only on request."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds
