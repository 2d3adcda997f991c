"""A relay under load whose only broker is killed or restarted, again and again: it publishes again within 10 s, each key in order."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import structlog

from chassis.producer import Producer
from tests.fault.marks import FAULT
from tests.integration.chassis.conftest import client_leaks_sockets, database, probe, sockets_collected, topics  # noqa: F401 - fixtures
from tests.integration.chassis.test_outbox import message, of_key, relay_of, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import timedelta

    from chassis.publisher import OutRecord
    from deploy.local.kafka import LocalKafka
    from deploy.local.parts import LocalParts
    from tests.integration.chassis.conftest import Probe, Topics

log = structlog.get_logger()

pytestmark = [*FAULT, pytest.mark.storm]

_KEYS = [f"k{i}" for i in range(20)]
_RECOVERY_SECONDS = 10
_ROUNDS = 3


class Watched:
    """A producer that notes when records were acknowledged."""

    def __init__(self, brokers: Topics) -> None:
        self.producer = Producer(brokers.options, client_id="watched")
        self.acknowledged: list[tuple[float, str]] = []

    def partition_of(self, topic: str, key: str) -> str:
        return self.producer.partition_of(topic, key)

    def send(self, records: Sequence[OutRecord], *, within: timedelta) -> list[Exception | None]:
        outcomes = self.producer.send(records, within=within)
        now = time.monotonic()
        self.acknowledged += [(now, value.decode()) for (_, _, value, _), error in zip(records, outcomes, strict=True) if error is None]
        return outcomes


@contextmanager
def load(service: Probe, topic: str) -> Iterator[list[float]]:
    """Publish 400 messages a second, so that some are under way at any moment; gives the instant of each commit."""
    written: list[float] = []
    stop = threading.Event()

    def write() -> None:
        while not stop.wait(0.05):
            first = len(written)
            service.publish(*(message(topic, key, f"{first + n}") for n, key in enumerate(_KEYS)))
            written.extend([time.monotonic()] * len(_KEYS))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield written
    finally:
        stop.set()
        thread.join(20)


def kill_and_start(kafka: LocalKafka) -> None:
    kafka.kill()
    time.sleep(3)
    kafka.start()


def restart_in_order(kafka: LocalKafka) -> None:
    kafka.stop()
    kafka.start()


@client_leaks_sockets
@pytest.mark.parametrize("hurt", [kill_and_start, restart_in_order])
def test_after_a_broker_is_back_everything_goes_out_within_ten_seconds(
    probe: Probe,  # noqa: F811 - the fixture
    topics: Topics,  # noqa: F811 - the fixture
    parts: LocalParts,
    hurt: Callable[[LocalKafka], None],
) -> None:
    if parts.kafka is None:
        pytest.skip("the broker is not ours to kill")
    (topic,) = topics.make("told", partitions=3)
    watched = Watched(topics)
    silences: list[float] = []
    drained: list[float] = []

    with running(relay_of(probe, watched)), load(probe, topic) as written:
        for _ in range(_ROUNDS):
            time.sleep(3)
            hurt(parts.kafka)
            back, committed = time.monotonic(), len(written)
            _wait(lambda back=back: watched.acknowledged and watched.acknowledged[-1][0] > back, within=60)
            silences.append(watched.acknowledged[-1][0] - back)
            _wait(lambda committed=committed: len({body for _, body in watched.acknowledged}) >= committed, within=60)
            drained.append(time.monotonic() - back)
    assert probe.waiting() == []
    watched.producer.close()

    silences, drained = [round(each, 1) for each in silences], [round(each, 1) for each in drained]
    log.info("measured", silence_seconds=silences, drained_seconds=drained)
    assert max(silences) < _RECOVERY_SECONDS, silences
    assert max(drained) < _RECOVERY_SECONDS, drained
    arrived = [(record.topic, record.key.decode(), record.value.decode()) for record in topics.read(topic)]
    for i, key in enumerate(_KEYS):
        assert of_key(arrived, key) == [str(n) for n in range(i, len(written), len(_KEYS))]


def _wait(done: Callable[[], object], *, within: float) -> None:
    end = time.monotonic() + within
    while not done() and time.monotonic() < end:
        time.sleep(0.02)
