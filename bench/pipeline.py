"""Whether anything is still under way: messages that a service has not done yet, and messages that it has not sent yet."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from kafka import TopicPartition
from kafka.admin import KafkaAdminClient, OffsetSpec
from sqlalchemy import create_engine, text

from chassis.dead_letter import SUFFIX
from deploy.topics import INTERNAL, INTERNAL_PARTITIONS, all_topics

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

_POLL_SECONDS = 0.2


class Pipeline:
    """Looks at the services' topics and outboxes from outside."""

    def __init__(self, client_options: Mapping[str, Any], database_url: str) -> None:
        self._admin = KafkaAdminClient(**client_options)
        self._engine = create_engine(database_url)

    def lag(self) -> int:
        """Return how many messages on internal topics their consumer groups have not done yet, over all groups."""
        ends = self._ends([TopicPartition(topic, n) for topic in INTERNAL for n in range(INTERNAL_PARTITIONS)])
        groups = [group["group_id"] for group in self._admin.list_groups()]
        left = 0
        for offsets in self._admin.list_group_offsets(dict.fromkeys(groups)).values() if groups else ():
            topics = {partition.topic for partition in offsets}
            done = {partition: max(0, offset.offset) for partition, offset in offsets.items()}
            # A group that has done something on one partition of a topic has the topic's other partitions to do as well.
            left += sum(end - done.get(partition, 0) for partition, end in ends.items() if partition.topic in topics)
        return left

    def unsent(self) -> int:
        """Return how many messages wait in the services' outboxes."""
        with self._engine.connect() as conn:
            schemas = conn.scalars(text("SELECT schemaname FROM pg_tables WHERE tablename = 'outbox'")).all()
            return sum(conn.scalar(text(f'SELECT count(*) FROM "{schema}".outbox')) or 0 for schema in schemas)  # noqa: S608 - from the catalogue

    def wait_idle(self, *, patience: float, on_look: Callable[[int], None] = lambda _left: None) -> float | None:
        """Wait until nothing is under way.

        Args:
            patience: How long to wait at most, in seconds.
            on_look: Gets the number of messages under way at each look.

        Returns:
            Seconds until the first of the looks that found nothing; None if it took too long.
        """
        begun = time.monotonic()
        idle_since: float | None = None
        while (now := time.monotonic()) - begun < patience:
            # While we look at one place a message may move on to one that we looked at before: two empty looks in a row count.
            left = self.unsent() + self.lag()
            on_look(left)
            if left == 0 and idle_since is not None:
                return idle_since - begun
            idle_since = now if left == 0 else None
            time.sleep(_POLL_SECONDS)
        return None

    def dead_letters(self) -> int:
        """Return how many messages are in dead-letter topics."""
        return sum(self._ends([TopicPartition(topic, 0) for topic in all_topics() if topic.endswith(SUFFIX)]).values())

    def close(self) -> None:
        """Close the connections."""
        self._admin.close()
        self._engine.dispose()

    def _ends(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        latest = self._admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.LATEST))
        return {partition: found.offset for partition, found in latest.items()}
