"""Up to when everything is known: how far this service's consumers, of all replicas, have come.

    look 1, 12:00:00    written:  p0 → 17, p1 → 40     taken in: p0 → 15, p1 → 40
    look 2, 12:00:01    written:  p0 → 19, p1 → 44     taken in: p0 → 17, p1 → 41    ⇒ what was sent before 12:00:00 is known

Without this a restart would announce breaches that the messages still waiting on the topics refute.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

import structlog
from kafka import KafkaAdminClient, TopicPartition
from kafka import errors as kafka_errors
from kafka.admin import OffsetSpec

from chassis.kafka import call_within

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from chassis.clock import Clock

log = structlog.get_logger()

Offsets = dict[tuple[str, int], int]

_MOST_LOOKS = 600
_TIMEOUT_MS = 5000
_LOOK_LIMIT = timedelta(seconds=10)
_CLOSE_LIMIT = timedelta(seconds=1)


class BrokersUnreachable(Exception):
    """The brokers did not answer."""


class Progress(Protocol):
    """How far topics, and the group that reads them, have come."""

    def look(self) -> tuple[Offsets, Offsets]:
        """Return, by partition, the offset of the record to be written next, then that of the record that the group will take in next.

        Raises:
            BrokersUnreachable: The brokers did not answer.
        """
        ...


class Horizon:
    """Tells up to when everything is known. For one thread."""

    def __init__(self, progress: Progress, clock: Clock, *, recovery: timedelta) -> None:
        """Ask `progress`.

        Args:
            progress: How far topics and group are.
            clock: Tells the time.
            recovery: How long publishers may take, after the start or after the brokers were out of reach, to send what they kept back;
                nothing more is claimed to be known until then.
        """
        self._progress = progress
        self._clock = clock
        self._recovery = recovery
        self._looks: deque[tuple[datetime, Offsets]] = deque()
        self._known_until: datetime | None = None
        self._answered_since: datetime | None = None

    def known_until(self) -> datetime | None:
        """Look, and return the latest instant before which every message sent has been taken in; None if there is none yet."""
        now = self._clock.now()
        try:
            written, taken_in = self._progress.look()
        except BrokersUnreachable as error:
            if self._answered_since is not None:
                log.warning("horizon_lost_brokers", error=str(error))
            self._answered_since = None
            return self._known_until
        self._answered_since = self._answered_since or now
        if len(self._looks) < _MOST_LOOKS:
            self._looks.append((now, written))
        passed = None
        while self._looks and _covers(taken_in, self._looks[0][1]):
            passed, _ = self._looks.popleft()
        if passed is not None and passed - self._answered_since >= self._recovery:
            self._known_until = passed
        return self._known_until


def _covers(taken_in: Offsets, written: Offsets) -> bool:
    return all(taken_in.get(partition, 0) >= end for partition, end in written.items())


class KafkaProgress:
    """`Progress` of a consumer group, asked of the brokers."""

    def __init__(self, topics: Sequence[str], group: str, client_options: Mapping[str, Any], *, limit: timedelta = _LOOK_LIMIT) -> None:
        """Connect lazily.

        Args:
            topics: What the group reads.
            group: The group.
            client_options: Connection and security, for the client.
            limit: Time limit to connect, and to query; after it the connection is dropped.
        """
        self._limit = limit
        self._topics = list(topics)
        self._group = group
        self._options = dict(client_options)
        self._admin: KafkaAdminClient | None = None

    def look(self) -> tuple[Offsets, Offsets]:
        """See `Progress.look`."""
        try:
            self._admin = admin = self._admin or call_within(self._limit, self._connect)
            return call_within(self._limit, lambda: self._look(admin))
        except kafka_errors.KafkaError as error:
            self.close()
            raise BrokersUnreachable(type(error).__name__) from error

    def _look(self, admin: KafkaAdminClient) -> tuple[Offsets, Offsets]:
        partitions = self._partitions(admin)
        latest = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.LATEST), timeout_ms=_TIMEOUT_MS)
        committed = admin.list_group_offsets({self._group: None})[self._group]
        # A group that never committed begins at the first record there is.
        unread = [partition for partition in partitions if partition not in committed]
        earliest = admin.list_partition_offsets(dict.fromkeys(unread, OffsetSpec.EARLIEST), timeout_ms=_TIMEOUT_MS) if unread else {}
        return _plain(latest), _plain(committed) | _plain(earliest)

    def _partitions(self, admin: KafkaAdminClient) -> list[TopicPartition]:
        found = admin.describe_topics(self._topics)
        partitions = [TopicPartition(topic["name"], partition["partition_index"]) for topic in found for partition in topic["partitions"]]
        missing = set(self._topics) - {partition.topic for partition in partitions}
        if missing:
            raise kafka_errors.UnknownTopicOrPartitionError(", ".join(sorted(missing)))
        return partitions

    def _connect(self) -> KafkaAdminClient:
        return KafkaAdminClient(
            **self._options,
            client_id=f"{self._group}-horizon",
            request_timeout_ms=_TIMEOUT_MS,
            bootstrap_timeout_ms=_TIMEOUT_MS,
            reconnect_backoff_max_ms=1000,
        )

    def close(self) -> None:
        """Drop the connection; the next question makes a new one."""
        admin, self._admin = self._admin, None
        if admin is not None:
            with suppress(kafka_errors.KafkaTimeoutError):
                call_within(_CLOSE_LIMIT, admin.close)


def _plain(offsets: Mapping[TopicPartition, Any]) -> Offsets:
    return {(partition.topic, partition.partition): found.offset for partition, found in offsets.items()}
