"""Kafka: a producer that checks every future."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from kafka import KafkaProducer
from kafka import errors as kafka_errors

from chassis import failpoint
from chassis.kafka import CLIENT_OPTIONS, METADATA_TIMEOUT, REQUEST_TIMEOUT, milliseconds
from chassis.outbox import Rejected

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_DELIVERY_TIMEOUT = timedelta(seconds=10)
_REJECTIONS = (
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.InvalidTopicError,
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.UnknownTopicOrPartitionError,
)


class Producer:
    """Sends records and waits for their acknowledgement. Not for use from two threads at once."""

    def __init__(self, client_options: Mapping[str, Any], *, client_id: str) -> None:
        self._options = {**client_options, "client_id": client_id}
        self._producer: KafkaProducer | None = None
        self._missing: set[str] = set()
        self._away: Exception | None = None

    def send(self, records: Sequence[tuple[str, str, bytes, list[tuple[str, str]]]]) -> list[Exception | None]:
        """Send (topic, key, value, headers) records and wait for the brokers.

        Returns:
            Per record None when all in-sync replicas have it, else the error; `Rejected` when sending it again as it is cannot help.
        """
        self._away = None
        futures = [self._send_one(*record) for record in records]
        failpoint.reach("producer.after_send")
        outcomes: list[Exception | None] = [f if isinstance(f, Exception) else self._outcome(f) for f in futures]
        if any(outcome is not None and not isinstance(outcome, Rejected) for outcome in outcomes):
            self.close()
        return outcomes

    def _send_one(self, topic: str, key: str, value: bytes, headers: list[tuple[str, str]]) -> Any:  # noqa: ANN401 - the library's future
        """Hand one record to the client; each fault costs its waiting time once a batch, not once a record."""
        if self._away is not None:
            return self._away
        if topic in self._missing and not self._is_known(topic):
            return Rejected(f"{topic}: no such topic")
        began = time.monotonic()
        try:
            if self._producer is None:
                self._producer = self._connect()
            return self._producer.send(topic, value, key.encode(), [(name, text.encode()) for name, text in headers])
        except _REJECTIONS as error:
            return Rejected(f"{topic}: {type(error).__name__}")
        except kafka_errors.KafkaTimeoutError as error:
            if not self._brokers_answered_since(began):
                self._away = error
            else:
                self._missing.add(topic)
            return self._away or Rejected(f"{topic}: no such topic")
        except kafka_errors.KafkaError as error:
            return error

    def _is_known(self, topic: str) -> bool:
        """Whether a topic that was missing is there now. Does not wait: the client goes on asking for what it did not find."""
        if self._producer is not None and self._producer._metadata.partitions_for_topic(topic) is None:  # noqa: SLF001 - `partitions_for` waits
            return False
        self._missing.discard(topic)
        return True

    def _brokers_answered_since(self, began: float) -> bool:
        """Whether brokers told of their topics meanwhile: the client's timeout does not tell a missing topic from missing brokers."""
        if self._producer is None:
            return False
        answered: float = self._producer._metadata._last_successful_refresh_ms  # noqa: SLF001 - it tells this nowhere else
        return answered >= began * 1000

    def _outcome(self, future: Any) -> Exception | None:  # noqa: ANN401 - the library's future
        try:
            future.get(timeout=(_DELIVERY_TIMEOUT + REQUEST_TIMEOUT).total_seconds())
        except _REJECTIONS as error:
            return Rejected(type(error).__name__)
        except kafka_errors.KafkaError as error:
            failure: Exception = error
            return failure
        return None

    def _connect(self) -> KafkaProducer:
        return KafkaProducer(
            **CLIENT_OPTIONS,
            **self._options,
            acks="all",
            delivery_timeout_ms=milliseconds(_DELIVERY_TIMEOUT),
            max_block_ms=milliseconds(METADATA_TIMEOUT),
        )

    def close(self) -> None:
        """Drop the connection; the next `send` makes a new one: a producer that failed may have lost its place in the sequence."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(kafka_errors.KafkaTimeoutError):
                producer.close(timeout=1)
