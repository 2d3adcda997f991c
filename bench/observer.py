"""What reaches the units, seen from outside: a consumer of every `dispatch.<unit>.v1` that belongs to no service."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kafka import KafkaConsumer, TopicPartition

from deploy.topics import unit_codes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_POLL_MS = 200
_GATHER_MS = 50
_CLOSE_MS = 1_000
_LEAD = "UNIT_ROLE_LEAD"
_LEAD_BYTES = _LEAD.encode()


@dataclass(frozen=True, slots=True)
class Arrival:
    """A ticket reached its lead unit.

    Attributes:
        ticket_id: The ticket.
        message_id: Id of the order; the same order may be delivered again under the same id.
        unit: The unit on whose topic it is.
        method: Who or what chose it: `AUTO`, `RULES`, `FALLBACK`, ….
        epoch: Number of the assignment.
        sent: When the dispatcher sent it, in seconds since the epoch.
        at: When the consumer had it, in seconds since the epoch.
    """

    ticket_id: str
    message_id: str
    unit: str
    method: str
    epoch: int
    sent: float
    at: float


class Observer:
    """Reads all unit topics from their present end on. Lives in a worker."""

    def __init__(self, client_options: Mapping[str, Any]) -> None:
        self._lock = threading.Lock()
        self._arrivals: list[Arrival] = []
        self._leads = 0
        self._messages = 0
        self._failure: str | None = None
        self._consumer = KafkaConsumer(
            **client_options,
            max_poll_records=2_000,
            # Asking for every message by itself would cost a tenth of what is measured; the wait counts against us.
            fetch_min_bytes=65_536,
            fetch_max_wait_ms=_GATHER_MS,
            check_crcs=False,
            metrics_enabled=False,
        )
        partitions = [TopicPartition(f"dispatch.{unit}.v1", 0) for unit in unit_codes()]
        self._consumer.assign(partitions)
        # Named positions: what is sent before the first poll counts.
        for partition, offset in self._consumer.end_offsets(partitions).items():
            self._consumer.seek(partition, offset)
        threading.Thread(target=self._run, daemon=True, name="observer").start()

    def count(self) -> int:
        """Return how many orders to lead units arrived so far, repetitions included.

        Raises:
            RuntimeError: The consumer failed; nothing more will arrive here.
        """
        if self._failure is not None:
            raise RuntimeError(self._failure)
        return self._leads

    def take(self) -> Sequence[Arrival]:
        """Return what arrived since the last call."""
        self.count()
        with self._lock:
            taken, self._arrivals = self._arrivals, []
        return taken

    def messages(self) -> int:
        """Return how many messages of any kind the units were sent so far."""
        return self._messages

    def _run(self) -> None:
        try:
            while True:
                polled = self._consumer.poll(timeout_ms=_POLL_MS)
                at = time.time()
                records = [record for batch in polled.values() for record in batch]
                arrivals = [arrival for record in records if (arrival := _arrival(record, at)) is not None]
                with self._lock:
                    self._arrivals += arrivals
                self._leads += len(arrivals)
                self._messages += len(records)
        except Exception as error:
            self._failure = f"the observer of the unit topics failed: {error!r}"
            raise


def _arrival(record: Any, at: float) -> Arrival | None:  # noqa: ANN401 - the library's record
    # Of a ticket's messages one is the lead's order: to parse the others would cost a core's worth at high rates.
    if _LEAD_BYTES not in record.value:
        return None
    message = json.loads(record.value)
    order = message.get("order")
    if order is None or order.get("role") != _LEAD:
        return None
    return Arrival(
        ticket_id=message["ticketId"],
        message_id=message["messageId"],
        unit=message["unit"],
        method=order.get("method", "").removeprefix("DISPATCH_METHOD_"),
        epoch=message.get("epoch", 0),
        sent=record.timestamp / 1000,
        at=at,
    )
