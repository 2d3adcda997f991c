"""Consumers of one group on a real broker: topics that are made later, and members that leave in order."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from kafka import KafkaConsumer
from kafka.errors import KafkaConnectionError

from chassis import consumer, lifecycle
from chassis.message import new_id
from tests.integration.chassis.test_consuming import Handler, consumer_of, running, sink_of
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chassis.lifecycle import Component
    from tests.integration.chassis.conftest import Probe, Topics


@pytest.fixture
def handler(probe: Probe) -> Handler:
    return Handler(probe)


def test_a_topic_made_after_the_start_is_read_within_seconds(probe: Probe, topics: Topics, handler: Handler) -> None:
    (present,) = topics.make("present")
    later = [f"later.{new_id()}" for _ in range(2)]
    topics.write(present, {"key": b"k", "value": b"present"})

    with running(consumer_of(probe, topics, [later[0], present, later[1]], sink_of(probe, handler), group=new_id())):
        eventually(lambda: probe.effects() == ["present"], "an effect of the topic that is there", within=30)
        topics.make_exactly(later[0])
        topics.write(later[0], {"key": b"k", "value": b"first"})
        eventually(lambda: "first" in probe.effects(), "an effect of the first topic", within=5)
        topics.make_exactly(later[1])
        topics.write(later[1], {"key": b"k", "value": b"second"})
        eventually(lambda: "second" in probe.effects(), "an effect of the second topic", within=5)


def test_a_consumer_that_starts_before_all_of_its_topics_reads_them_once_they_are_made(
    probe: Probe, topics: Topics, handler: Handler
) -> None:
    topic = f"later.{new_id()}"

    with running(consumer_of(probe, topics, [topic], sink_of(probe, handler), group=new_id())):
        time.sleep(1)
        topics.make_exactly(topic)
        topics.write(topic, {"key": b"k", "value": b"first"})
        eventually(lambda: probe.effects() == ["first"], "an effect", within=5)


def test_heartbeats_that_ended_with_the_connection_begin_again_and_the_member_stays(
    probe: Probe, topics: Topics, handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    (topic,) = topics.make("in")
    clients: list[KafkaConsumer] = []

    def connect(*names: str, **options: object) -> KafkaConsumer:
        clients.append(KafkaConsumer(*names, **options))
        return clients[-1]

    async def disconnected() -> None:
        raise KafkaConnectionError("socket disconnected")

    monkeypatch.setattr(consumer, "KafkaConsumer", connect)
    topics.write(topic, {"key": b"k", "value": b"before"})
    with running(consumer_of(probe, topics, [topic], sink_of(probe, handler), group=new_id())):
        eventually(lambda: probe.effects() == ["before"], "an effect", within=30)
        coordinator = clients[0]._coordinator
        ended = coordinator._heartbeat_loop_future
        with monkeypatch.context() as broken:
            broken.setattr(coordinator, "_do_heartbeat", disconnected)
            eventually(lambda: ended.is_done, "the end of the heartbeats", within=10)
        topics.write(topic, {"key": b"k", "value": b"after"})
        eventually(lambda: "after" in probe.effects(), "an effect afterwards", within=3)
        eventually(lambda: coordinator._heartbeat_loop_future and not coordinator._heartbeat_loop_future.is_done, "heartbeats", within=3)

    assert len(clients) == 1


class SlowDoor:
    """Stands for a gRPC server with open streams: it takes its time to drain."""

    name = "door"

    def run(self, stop: threading.Event) -> None:
        stop.wait()
        time.sleep(4)


@contextmanager
def process_of(*components: Component) -> Iterator[threading.Event]:
    """Run components as a process does; the event stops them in order."""
    stop = threading.Event()
    thread = threading.Thread(target=lifecycle.run, args=(components, stop))
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()


def test_a_replica_that_is_stopped_in_order_hands_over_within_two_seconds(probe: Probe, topics: Topics) -> None:
    (topic,) = topics.make("in", partitions=6)
    group = new_id()
    handlers = [Handler(probe), Handler(probe)]
    leaving, staying = (consumer_of(probe, topics, [topic], sink_of(probe, each), group=group) for each in handlers)
    keys = [str(i).encode() for i in range(24)]

    with process_of(SlowDoor(), leaving) as stop, running(staying):
        _write_until(topics, topic, keys, lambda: all(each.batches for each in handlers))
        stop.set()
        stopped = time.monotonic()
        handlers[1].batches.clear()
        while not set(keys) <= {body.encode() for batch in list(handlers[1].batches) for body in batch} and time.monotonic() < stopped + 10:
            topics.write(topic, *({"key": key, "value": key} for key in keys))
        took = time.monotonic() - stopped

    assert took < 2, f"the other one had all partitions after {took:.1f} s"


def _write_until(topics: Topics, topic: str, keys: list[bytes], done: object) -> None:
    assert callable(done)
    for _ in range(40):
        topics.write(topic, *({"key": key, "value": b"before"} for key in keys))
        if done():
            return
        time.sleep(0.3)
    raise AssertionError("the replicas do not share the partitions")
