"""Port for publishing records, and the errors of records that were not acknowledged."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

OutRecord = tuple[str, str, bytes, list[tuple[str, str]]]
"""Topic, key, value and headers of a record to publish."""

DEADLINE = timedelta(seconds=4)
"""Time limit for the acknowledgements of all records of one call."""


class Rejected(Exception):
    """The brokers reject the record itself, for example because it is too large. A retry of the same record fails again."""


class TopicUnavailable(Exception):
    """The topic, or the record's partition, accepted no write: no leader, no such topic, no permission, too few replicas, no response.

    Attributes:
        topic: Name of the topic.
        reason: Kafka's name of the error, e.g. `LeaderNotAvailable`; `NotAcknowledged` if there was no answer in time.
    """

    def __init__(self, topic: str, reason: str) -> None:
        super().__init__(f"{topic}: {reason}")
        self.topic = topic
        self.reason = reason


class BrokersAway(Exception):
    """No broker answered. Every other record would fail in the same way."""


def reason_of(error: Exception) -> str:
    """Return the label of a publisher's error in metrics and logs."""
    return error.reason if isinstance(error, TopicUnavailable) else type(error).__name__


class Publisher(Protocol):
    """Sends records; `chassis.producer.Producer` is one."""

    def send(self, records: Sequence[OutRecord], *, within: timedelta = DEADLINE) -> list[Exception | None]:
        """Send records and wait for their acknowledgements.

        Args:
            records: What to send; records of one key and topic keep their order.
            within: Time for all of them together.

        Returns:
            Per record None when it is acknowledged, else the error. A record with an error other than `Rejected` may still arrive.
        """
        ...

    def partition_of(self, topic: str, key: str) -> str:
        """Return a name of the partition on which records of a key go, the same for one partition; the topic's name if it is not known."""
        ...
