"""A consumer during the failure and the restart of its broker: it continues within ten seconds, without intervention."""

from __future__ import annotations

import gc
import logging
import threading
import time
import uuid
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import InvalidReplicationAssignmentError, KafkaError

from chassis.consumer import Consumer
from chassis.metrics import ChassisMetrics
from deploy.local.kafka import LocalKafka
from tests.fault.marks import FAULT
from tests.support.cluster import SecondBroker
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from chassis.message import Record

pytestmark = [*FAULT, pytest.mark.storm]

REACH = 10

# Warnings about brokers that the test kills are expected.
logging.getLogger("kafka").setLevel(logging.CRITICAL)


class Collecting:
    """Keeps what is read."""

    def __init__(self) -> None:
        self.values: list[bytes] = []

    def process(self, records: Sequence[Record], step: Callable[[], None] = lambda: None) -> None:
        self.values += [record.value or b"" for record in records]
        step()


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """Let sockets whose connection was refused go while their warnings are expected."""
    yield
    gc.collect()


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


def _consumer(broker: LocalKafka, topics: Sequence[str], sink: Collecting) -> Consumer:
    options: dict[str, Any] = {"bootstrap_servers": [broker.bootstrap]}
    return Consumer(
        topics,
        sink,
        group=f"group-of-{topics[0]}-{id(sink)}",
        client_options=options,
        metrics=ChassisMetrics(),
        batch=100,
        linger=timedelta(milliseconds=100),
        session_timeout=timedelta(seconds=6),
    )


@pytest.mark.parametrize("end", [_kill, _stop], ids=["killed", "stopped in order"])
@pytest.mark.parametrize("away", [1, 15], ids=["for a second", "for fifteen seconds"])
def test_records_are_read_within_ten_seconds_of_the_brokers_return(
    broker: LocalKafka, end: Callable[[LocalKafka], None], away: float, request: pytest.FixtureRequest
) -> None:
    topic = f"t{abs(hash(request.node.name))}"
    with KafkaAdminClient(bootstrap_servers=broker.bootstrap) as admin:
        admin.create_topics({topic: {"num_partitions": 3}}, timeout_ms=20_000, wait_for_metadata=True)
    sink, stop = Collecting(), threading.Event()
    consumer = _consumer(broker, [topic], sink)
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


def _internal_topics(admin: KafkaAdminClient) -> list[str]:
    with suppress(KafkaError):
        admin.describe_groups(["nobody"])
    return list(admin.list_topics())


def _created(admin: KafkaAdminClient, name: str, node: int) -> bool:
    topic = NewTopic(name=name, num_partitions=-1, replication_factor=-1, replica_assignments={0: [node]})
    try:
        admin.create_topics([topic], timeout_ms=20_000, wait_for_metadata=True)
    except InvalidReplicationAssignmentError:
        return False  # A broker takes part some time after it was started.
    return True


@pytest.fixture
def second(broker: LocalKafka) -> Iterator[SecondBroker]:
    # The offsets topic is on the first broker, which creates it at the first request.
    with KafkaAdminClient(bootstrap_servers=broker.bootstrap) as admin:
        eventually(lambda: "__consumer_offsets" in _internal_topics(admin), "the topic of offsets", within=20)
    with SecondBroker(broker) as beside:
        yield beside


def test_a_partition_whose_broker_is_dead_keeps_nobody_else_back(broker: LocalKafka, second: SecondBroker) -> None:
    here, there = (f"{name}-{uuid.uuid4().hex}" for name in ("here", "there"))
    with KafkaAdminClient(bootstrap_servers=broker.bootstrap) as admin:
        for name, node in ((here, 1), (there, 2)):
            eventually(lambda name=name, node=node: _created(admin, name, node), f"a topic on broker {node}", within=60)
    sinks, stop = [Collecting(), Collecting()], threading.Event()
    threads = [threading.Thread(target=_consumer(broker, [there, here], sink).run, args=(stop,)) for sink in sinks]
    slowest = 0.0
    threads[0].start()
    try:
        for topic in (there, here):
            _write(broker, topic, topic.encode())
        eventually(lambda: len(sinks[0].values) == 2, "records of both", within=30)
        second.kill()
        threads[1].start()
        for i in range(12):
            _write(broker, here, b"%d" % i)
            written = time.monotonic()
            eventually(lambda i=i: all(b"%d" % i in sink.values for sink in sinks), f"record {i}", within=60, every=0.02)
            slowest = max(slowest, time.monotonic() - written)
            time.sleep(1)
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)

    assert slowest < REACH, f"{slowest:.1f} s"
    assert not any(thread.is_alive() for thread in threads)
