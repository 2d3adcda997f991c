"""A consumer over the death and the restart of its broker: it goes on within ten seconds, and nobody has to help."""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient

from chassis.consumer import Consumer
from chassis.metrics import ChassisMetrics
from deploy.local.kafka import LocalKafka
from tests.fault.marks import FAULT
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from chassis.message import Record

pytestmark = [*FAULT, pytest.mark.storm]

REACH = 10

# Brokers that are killed on purpose are no news.
logging.getLogger("kafka").setLevel(logging.CRITICAL)


class Collecting:
    """Keeps what is read."""

    def __init__(self) -> None:
        self.values: list[bytes] = []

    def process(self, records: Sequence[Record]) -> None:
        self.values += [record.value or b"" for record in records]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    with LocalKafka(tmp_path_factory.mktemp("mortal")) as broker:
        yield broker


def _write(broker: LocalKafka, topic: str, value: bytes) -> None:
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap)
    try:
        producer.send(topic, value).get(timeout=20)
    finally:
        producer.close(timeout=5)


def _kill(broker: LocalKafka) -> None:
    broker.kill()


def _stop(broker: LocalKafka) -> None:
    broker.stop()


@pytest.mark.parametrize("end", [_kill, _stop], ids=["killed", "stopped in order"])
@pytest.mark.parametrize("away", [1, 15], ids=["for a second", "for fifteen seconds"])
def test_records_are_read_within_ten_seconds_of_the_brokers_return(
    broker: LocalKafka, end: Callable[[LocalKafka], None], away: float, request: pytest.FixtureRequest
) -> None:
    topic = f"t{abs(hash(request.node.name))}"
    with KafkaAdminClient(bootstrap_servers=broker.bootstrap) as admin:
        admin.create_topics({topic: {"num_partitions": 3}}, timeout_ms=20_000, wait_for_metadata=True)
    sink, stop = Collecting(), threading.Event()
    options: dict[str, Any] = {"bootstrap_servers": [broker.bootstrap]}
    consumer = Consumer(
        [topic],
        sink,
        group=topic,
        client_options=options,
        metrics=ChassisMetrics(),
        batch=100,
        linger=timedelta(milliseconds=100),
        session_timeout=timedelta(seconds=6),
    )
    thread = threading.Thread(target=consumer.run, args=(stop,))
    thread.start()
    try:
        _write(broker, topic, b"before")
        eventually(lambda: sink.values == [b"before"], "the first record", within=30)
        end(broker)
        time.sleep(away)
        broker.start()
        back = time.monotonic()
        _write(broker, topic, b"after")
        eventually(lambda: b"after" in sink.values, "the record after the return", within=60, every=0.05)
        took = time.monotonic() - back
    finally:
        stop.set()
        thread.join(20)

    request.node.user_properties.append(("seconds", round(took, 1)))
    assert took < REACH, f"{took:.1f} s"
    assert not thread.is_alive()
