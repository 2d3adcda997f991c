"""Where the time goes: when each ticket was put on each topic on its way, read from the topics once it is all over."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kafka import KafkaConsumer, TopicPartition

from bench.stats import Latency
from deploy.topics import INTERNAL_PARTITIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.load import Answer
    from bench.observer import Arrival

TICKETS = "intake.tickets.v1"
CLASSIFICATIONS = "classifier.classifications.v1"
_POLL_MS = 500
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Stages:
    """Time of each leg.

    Attributes:
        submit: From when a submission was due to its answer.
        intake: From when it was due to the sending of the ticket on intake's topic, which may come before the answer.
        classify: From there to the sending of its classification.
        dispatch: From there to the sending of the order on the unit's topic.
        arrive: From there to the arrival at the unit's consumer.
    """

    submit: Latency
    intake: Latency
    classify: Latency
    dispatch: Latency
    arrive: Latency


class TopicReader:
    """Reads when records were sent. Lives in a worker."""

    def __init__(self, client_options: Mapping[str, Any]) -> None:
        self._options = client_options

    def sent(self, topic: str, since: float) -> Mapping[str, float]:
        """Return key → when its first record since `since` was sent, both in seconds since the epoch.

        Raises:
            TimeoutError: The topic could not be read to its end.
        """
        consumer = KafkaConsumer(**self._options, check_crcs=False, metrics_enabled=False, max_poll_records=5_000)
        try:
            partitions = [TopicPartition(topic, n) for n in range(INTERNAL_PARTITIONS)]
            consumer.assign(partitions)
            ends = consumer.end_offsets(partitions)
            starts = consumer.offsets_for_times(dict.fromkeys(partitions, int(since * 1000)))
            for partition, start in starts.items():
                consumer.seek(partition, ends[partition] if start is None else start.offset)
            sent: dict[str, float] = {}
            give_up = time.monotonic() + _PATIENCE_SECONDS
            while any(consumer.position(partition) < end for partition, end in ends.items()):
                if time.monotonic() > give_up:
                    message = f"{topic} could not be read to its end"
                    raise TimeoutError(message)
                for batch in consumer.poll(timeout_ms=_POLL_MS).values():
                    for record in batch:
                        sent.setdefault(record.key.decode(), record.timestamp / 1000)
            return sent
        finally:
            consumer.close()


def stages_of(arrived: Sequence[tuple[Answer, Arrival]], tickets: Mapping[str, float], classifications: Mapping[str, float]) -> Stages:
    """Divide up the time of the tickets whose every leg is known; `tickets` and `classifications` tell when these were sent."""
    known = [(answer, order) for answer, order in arrived if answer.ticket_id in tickets and answer.ticket_id in classifications]
    return Stages(
        submit=Latency.of(answer.answered - answer.due for answer, _ in known),
        intake=Latency.of(tickets[answer.ticket_id] - answer.due for answer, _ in known),
        classify=Latency.of(classifications[answer.ticket_id] - tickets[answer.ticket_id] for answer, _ in known),
        dispatch=Latency.of(order.sent - classifications[answer.ticket_id] for answer, order in known),
        arrive=Latency.of(order.at - order.sent for _, order in known),
    )
