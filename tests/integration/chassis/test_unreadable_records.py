"""On a real broker: every codec is read, unreadable records stop nothing, oversized and aborted records have the right outcome."""

from __future__ import annotations

import struct
import time
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient

from chassis.dead_letter import DeadLetterLimit, dead_letter_topic
from chassis.message import new_id
from chassis.producer import Producer
from chassis.relay import Relay
from tests.integration.chassis.conftest import Probe, Topics, values
from tests.integration.chassis.test_consuming import Handler, buried, consumer_of, running, sink_of
from tests.integration.chassis.test_outbox import message
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from deploy.local.parts import LocalParts

MANY = 10**9
LENIENT = DeadLetterLimit(1000, timedelta(hours=1))


@pytest.fixture
def handler(probe: Probe) -> Handler:
    return Handler(probe)


def write_with(topics: Topics, topic: str, *records: Mapping[str, Any], **options: Any) -> None:
    """Write records with a client of a unit's own making."""
    with closing(KafkaProducer(bootstrap_servers=topics.bootstrap, max_request_size=MANY, **options)) as producer:
        for record in records:
            producer.send(topic, **record).get(timeout=20)


def compress_on_the_broker(topics: Topics, topic: str, codec: str) -> None:
    with closing(KafkaAdminClient(bootstrap_servers=topics.bootstrap)) as admin:
        admin.create_topics(
            {topic: {"num_partitions": 1, "configs": {"compression.type": codec}}}, timeout_ms=20_000, wait_for_metadata=True
        )


def damage(log: Path, nth: int, at: int, junk: bytes) -> None:
    """Overwrite bytes of the batch with number `nth` of a log, where the broker keeps it; negative places count from its end."""
    raw, begin = log.read_bytes(), 0
    for _ in range(nth):
        begin += 12 + struct.unpack_from(">i", raw, begin + 8)[0]
    end = begin + 12 + struct.unpack_from(">i", raw, begin + 8)[0]
    with log.open("r+b") as file:
        file.seek(begin + at if at >= 0 else end + at)
        file.write(junk)


def log_of(parts: LocalParts, topic: str) -> Path:
    found: Path = next(parts.kafka.data_dir.glob(f"data/{topic}-0/*.log"))
    return found


def test_a_topic_that_its_broker_compresses_is_read_whatever_the_codec(probe: Probe, topics: Topics, handler: Handler) -> None:
    names = {codec: f"in.{codec}.{new_id()}" for codec in ("gzip", "snappy", "lz4", "zstd")}
    for codec, topic in names.items():
        compress_on_the_broker(topics, topic, codec)
        topics.write(topic, {"key": b"k", "value": codec.encode() * 500})

    with running(consumer_of(probe, topics, list(names.values()), sink_of(probe, handler), group=new_id())):
        eventually(lambda: len(probe.effects()) == len(names), lambda: f"{len(names)} effects, {len(probe.effects())}", within=30)

    assert set(probe.effects()) == {codec * 500 for codec in names}
    assert buried(probe) == []


def test_what_cannot_be_read_is_a_dead_letter_and_what_follows_and_what_is_beside_it_is_read(
    probe: Probe, topics: Topics, handler: Handler, parts: LocalParts
) -> None:
    topic, beside = topics.make("in", "beside")
    group = new_id()
    topics.write(topic, {"key": b"k", "value": b"before"})
    topics.write(topic, {"key": b"k", "value": b"damaged on the disk"})
    write_with(topics, topic, {"key": b"k", "value": bytes(64 * 1024 * 1024)}, compression_type="gzip")
    topics.write(topic, {"key": b"k", "value": b"another codec"})
    topics.write(topic, {"key": b"k", "value": b"after"})
    damage(log_of(parts, topic), 1, -8, b"\x00\x01\x02")
    _set_codec(log_of(parts, topic), 3, 6)
    topics.write(beside, {"key": b"k", "value": b"beside"})

    with running(consumer_of(probe, topics, [topic, beside], sink_of(probe, handler, limit=LENIENT), group=group)):
        eventually(lambda: len(probe.effects()) == 3, lambda: f"three effects: {probe.effects()}", within=30)
        eventually(lambda: topics.committed(group, topic) == 5, "a committed offset", within=20, every=0.3)

    assert sorted(probe.effects()) == ["after", "before", "beside"]
    letters = buried(probe)
    assert [(letter["dlq_offset"], letter["dlq_reason"]) for letter in letters] == [
        ("1", "CORRUPT_RECORD"),
        ("2", "TOO_LARGE_UNPACKED"),
        ("3", "UNKNOWN_CODEC"),
    ]
    assert all(letter["dlq_truncated"] == "value" for letter in letters)


def _set_codec(log: Path, nth: int, codec: int) -> None:
    """Name another codec in a batch's attributes, and set its checksum right."""
    from kafka.record.util import calc_crc32c  # noqa: PLC0415 - for this one case

    raw, begin = log.read_bytes(), 0
    for _ in range(nth):
        begin += 12 + struct.unpack_from(">i", raw, begin + 8)[0]
    batch = bytearray(raw[begin : begin + 12 + struct.unpack_from(">i", raw, begin + 8)[0]])
    struct.pack_into(">h", batch, 21, codec)
    damage(log, nth, 17, struct.pack(">I", calc_crc32c(memoryview(batch)[21:])))
    damage(log, nth, 21, struct.pack(">h", codec))


def test_a_partition_whose_log_makes_no_sense_any_more_keeps_nobody_else_back(
    probe: Probe, topics: Topics, handler: Handler, parts: LocalParts
) -> None:
    topic, beside = topics.make("in", "beside")
    topics.write(topic, {"key": b"k", "value": b"damaged beyond its offsets"})
    damage(log_of(parts, topic), 0, 57, struct.pack(">i", 77))

    with running(consumer_of(probe, topics, [topic, beside], sink_of(probe, handler), group=new_id())):
        for i in range(5):
            topics.write(beside, {"key": b"k", "value": str(i).encode()})
            begun = time.monotonic()
            eventually(lambda i=i: str(i) in probe.effects(), f"effect {i}", within=20)
            # The first one waits for the consumer to join its group.
            assert i == 0 or time.monotonic() - begun < 2


def test_a_unit_that_floods_its_topic_with_garbage_does_not_keep_others_waiting(probe: Probe, topics: Topics, handler: Handler) -> None:
    flooded, beside = topics.make("in", "beside")
    topics.write(flooded, *({"key": b"\xff", "value": b"x"} for _ in range(3000)))
    limit = DeadLetterLimit(10_000, timedelta(hours=1))
    consumer = consumer_of(probe, topics, [flooded, beside], sink_of(probe, handler, limit=limit), group=new_id())

    with running(consumer):
        eventually(lambda: len(buried(probe)) > 0, "a dead letter", within=30)
        topics.write(beside, {"key": b"k", "value": b"beside"})
        eventually(lambda: probe.effects() == ["beside"], "the effect of the other", within=10)
        flood_left = 3000 - len(buried(probe))

    assert flood_left > 0


def test_an_oversized_invalid_message_is_buried_and_later_messages_of_its_key_are_published(
    probe: Probe, topics: Topics, handler: Handler
) -> None:
    (topic, out) = topics.make("in", "out")
    topics.make_exactly(dead_letter_topic(topic))
    giant = {"key": b"ticket", "value": b"v" * 3_000_000, "headers": [("ce_id", b"\xff"), ("x", b"h" * 3_000_000)]}
    write_with(topics, topic, giant, compression_type="gzip")
    producer = Producer(topics.options, client_id="probe")
    relay = Relay(probe.engine, probe.outbox, producer, probe.metrics, interval=timedelta(seconds=0.1), pace=timedelta(0), batch=100)

    with running(consumer_of(probe, topics, [topic], sink_of(probe, handler), group=new_id())):
        eventually(lambda: len(buried(probe)) == 1, "a dead letter in the outbox", within=30)
    probe.publish(message(out, "ticket", "later"))
    with running(relay):
        eventually(lambda: not probe.waiting(), lambda: f"an empty outbox, not {len(probe.waiting())} rows", within=20)
    producer.close()

    (letter,) = topics.read(dead_letter_topic(topic))
    headers = dict(letter.headers)
    assert letter.key == f"{topic}/0/0".encode()
    assert (headers["dlq_key"], headers["dlq_value_bytes"], headers["dlq_truncated"]) == (b"ticket", b"3000000", b"value,headers")
    assert values(topics.read(out)) == ["later"]


def test_an_aborted_transaction_has_no_effect_and_a_committed_one_has(probe: Probe, topics: Topics, handler: Handler) -> None:
    (topic,) = topics.make("in")
    producer = KafkaProducer(bootstrap_servers=topics.bootstrap, transactional_id=new_id())
    with closing(producer):
        producer.init_transactions()
        for body, end in ((b"aborted", producer.abort_transaction), (b"committed", producer.commit_transaction)):
            producer.begin_transaction()
            for i in range(3):
                producer.send(topic, body + b" %d" % i, b"k").get(timeout=20)
            end()
    topics.write(topic, {"key": b"k", "value": b"last"})

    with running(consumer_of(probe, topics, [topic], sink_of(probe, handler), group=new_id())):
        eventually(lambda: "last" in probe.effects(), "the last effect", within=30)

    assert probe.effects() == ["committed 0", "committed 1", "committed 2", "last"]
