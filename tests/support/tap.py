"""A Kafka client of the tests' own that keeps every record of some topics, also over the death of brokers."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from chassis.kafka_records import CONSUMER_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_API_VERSION = (2, 6)
_POLL_MS = 50
_PAUSE_SECONDS = 0.3

# A broker that is killed on purpose is no news.
logging.getLogger("kafka").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class Seen:
    """A record as it lies on a topic. `time` is its timestamp, in milliseconds since 1970."""

    topic: str
    partition: int
    offset: int
    key: str
    value: bytes
    headers: Mapping[str, str]
    time: int

    @property
    def message_id(self) -> str:
        """The CloudEvents id."""
        return self.headers.get("ce_id", "")

    @property
    def type(self) -> str:
        """The CloudEvents type."""
        return self.headers.get("ce_type", "")


class Tap:
    """Reads topics from their beginning without a group: what it sees twice is on the topic twice."""

    def __init__(self, bootstrap: str, topics: Mapping[str, int], on_record: Callable[[Seen], None]) -> None:
        """Read `topics` (name → number of partitions); `on_record` is called in the reading thread."""
        self._bootstrap = bootstrap
        self._on_record = on_record
        self._positions = {TopicPartition(topic, n): 0 for topic, partitions in topics.items() for n in range(partitions)}
        self._stop = threading.Event()
        self._asked = 0
        self._answered = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="tap", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Stop reading."""
        self._stop.set()
        self._thread.join(30)

    def catch_up(self, timeout: float = 30) -> None:
        """Return when everything that lay on the topics at the time of the call was read.

        Raises:
            TimeoutError: It took too long.
        """
        with self._changed:
            self._asked += 1
            mine = self._asked
            if not self._changed.wait_for(lambda: self._answered >= mine, timeout):
                message = f"the tap did not reach the end of its topics within {timeout} s"
                raise TimeoutError(message)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._read()
            except (KafkaError, OSError):
                time.sleep(_PAUSE_SECONDS)

    def _read(self) -> None:
        consumer = KafkaConsumer(
            **CONSUMER_OPTIONS,
            bootstrap_servers=self._bootstrap,
            api_version=_API_VERSION,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
            reconnect_backoff_max_ms=300,
            request_timeout_ms=5000,
            metrics_enabled=False,
        )
        try:
            consumer.assign(list(self._positions))
            for partition, position in self._positions.items():
                consumer.seek(partition, position)
            while not self._stop.is_set():
                self._poll(consumer)
                self._answer(consumer)
        finally:
            consumer.close(autocommit=False, timeout_ms=1000)

    def _poll(self, consumer: KafkaConsumer) -> int:
        count = 0
        for partition, records in consumer.poll(timeout_ms=_POLL_MS).items():
            for record in records:
                self._on_record(_seen(record))
                self._positions[partition] = record.offset + 1
                count += 1
        return count

    def _answer(self, consumer: KafkaConsumer) -> None:
        with self._changed:
            asked = self._asked
        if asked == self._answered:
            return
        ends = consumer.end_offsets(list(self._positions))
        while not self._stop.is_set() and any(self._positions[partition] < end for partition, end in ends.items()):
            self._poll(consumer)
        with self._changed:
            self._answered = asked
            self._changed.notify_all()


def _seen(record: object) -> Seen:
    return Seen(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=(record.key or b"").decode(errors="replace"),
        value=record.value or b"",
        headers={name: (value or b"").decode(errors="replace") for name, value in record.headers},
        time=record.timestamp,
    )
