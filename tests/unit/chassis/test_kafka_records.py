"""An unreadable record becomes one `Unreadable` value, and all others are read."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import cramjam
import pytest
from kafka import TopicPartition
from kafka.errors import CorruptRecordError
from kafka.record import MemoryRecords, MemoryRecordsBuilder
from kafka.record.util import calc_crc32c

from chassis.kafka_records import MOST_UNPACKED_BYTES, LenientPartitionRecords
from chassis.message import InvalidMessage, Unreadable, read_record

ROOT = Path(__file__).resolve().parents[3]


class Raw(str):
    """A header's name whose bytes on the wire are those that it was made of."""

    __slots__ = ("raw",)

    raw: bytes

    def encode(self, *_: object) -> bytes:  # type: ignore[override]
        return self.raw


def raw(name: bytes) -> Raw:
    made = Raw(name.decode(errors="replace"))
    made.raw = name
    return made


def read(*records: tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]], compression: int = 0) -> list:
    builder = MemoryRecordsBuilder(magic=2, compression_type=compression, batch_size=1_000_000)
    for offset, (key, value, headers) in enumerate(records):
        builder.append(timestamp=1000 + offset, key=key, value=value, headers=headers)
    builder.close()
    (batch,) = list(MemoryRecords(bytes(builder.buffer())))
    assert batch.validate_crc()
    return list(batch)


@pytest.mark.parametrize("compression", [0, 1], ids=["plain", "gzip"])
def test_a_bad_name_is_written_out_and_everything_else_is_as_it_was(compression: int) -> None:
    bad = "编号".encode("gbk")
    records = read(
        (b"k1", b"v1", [("x", b"1")]),
        (b"\xff\xfe", bad, [("a", bad), (raw(bad), bad), (raw(b"\xff"), None), ("订单", b"\x00"), ("z", b"")]),
        (None, None, [(raw(b"\x80" * 200), b"v" * 300)]),
        (b"k4", b"v4", []),
        compression=compression,
    )

    assert [(record.key, record.value) for record in records] == [(b"k1", b"v1"), (b"\xff\xfe", bad), (None, None), (b"k4", b"v4")]
    assert [record.offset for record in records] == [0, 1, 2, 3]
    assert [record.timestamp for record in records] == [1000, 1001, 1002, 1003]
    names = [[name for name, _ in record.headers] for record in records]
    assert names[0] == ["x"]
    # All the names of a record that has a bad one lose what is not ASCII.
    assert names[1] == ["a", "????", "?", "??????", "z"]
    assert [value for _, value in records[1].headers] == [bad, bad, None, b"\x00", b""]
    assert names[2] == ["?" * 200]


def test_good_names_of_any_language_are_not_touched() -> None:
    (record,) = read((b"k", b"v", [("订单", b"1"), ("é", b"2")]))

    assert record.headers == [("订单", b"1"), ("é", b"2")]


CODECS = {
    "gzip": (1, cramjam.gzip.compress),
    "snappy": (2, cramjam.snappy.compress_raw),
    "lz4": (3, cramjam.lz4.compress),
    "zstd": (4, cramjam.zstd.compress),
}
GOOD = [(b"k%d" % i, b"v%d" % i * 50, [("h", b"%d" % i)]) for i in range(5)]


def batch_of(*records: Any, codec: int = 0, compress: Any = bytes, body: bytes | None = None, count: int | None = None) -> bytearray:
    """Return a batch that begins at offset 10; `body` and `count` take the place of what the records give."""
    builder = MemoryRecordsBuilder(magic=2, compression_type=0, batch_size=100_000_000, offset=0)
    for key, value, headers in records:
        builder.append(timestamp=1000, key=key, value=value, headers=headers)
    builder.close()
    raw = bytearray(builder.buffer())
    header, plain = raw[:61], bytes(raw[61:])
    packed = bytes(compress(plain if body is None else body))
    count = len(records) if count is None else count
    struct.pack_into(">qi", header, 0, 10, 49 + len(packed))
    struct.pack_into(">hi", header, 21, codec, count - 1)
    struct.pack_into(">i", header, 57, count)
    return signed(header + packed)


def signed(raw: bytearray) -> bytearray:
    struct.pack_into(">I", raw, 17, calc_crc32c(memoryview(raw)[21:]))
    return raw


def poll(*batches: bytes, budget: int = 10**9) -> list[Any]:
    """Return what a consumer gets of batches that lie one after the other."""
    records = LenientPartitionRecords(0, TopicPartition("in", 0), MemoryRecords(b"".join(batches)), isolation_level=1)
    found: list[Any] = []
    while records:
        records.budget = budget
        found += records.take(100)
    return found


def after(count: int) -> bytearray:
    """Return a good batch that lies behind another of `count` records."""
    following = batch_of((b"after", b"after", []))
    struct.pack_into(">q", following, 0, 10 + count)
    return following


@pytest.mark.parametrize("name", CODECS)
def test_every_codec_of_kafka_is_read(name: str) -> None:
    codec, compress = CODECS[name]

    records = poll(batch_of(*GOOD, codec=codec, compress=compress))

    assert [(record.offset, record.key, record.value, record.headers) for record in records] == [
        (10 + i, *each) for i, each in enumerate(GOOD)
    ]


def test_snappy_is_read_in_the_blocks_in_which_java_frames_it() -> None:
    def frame(plain: bytes) -> bytes:
        blocks = [bytes(cramjam.snappy.compress_raw(plain[i : i + 100])) for i in range(0, len(plain), 100)]
        return b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1) + b"".join(struct.pack(">i", len(block)) + block for block in blocks)

    assert [record.value for record in poll(batch_of(*GOOD, codec=2, compress=frame))] == [value for _, value, _ in GOOD]


def damaged_body(raw: bytearray) -> bytearray:
    raw[-20:] = b"\xff" * 20
    return raw


UNREADABLE = {
    "checksum": (damaged_body(batch_of(*GOOD)), "CORRUPT_RECORD"),
    "codec": (batch_of(*GOOD, codec=5), "UNKNOWN_CODEC"),
    "last codec": (batch_of(*GOOD, codec=7), "UNKNOWN_CODEC"),
    **{
        f"{name} of something else": (batch_of(*GOOD, codec=codec, compress=lambda _plain: b"nothing of the kind" * 9), "CORRUPT_RECORD")
        for name, (codec, _) in CODECS.items()
    },
    **{
        f"half of {name}": (
            batch_of(*GOOD, codec=codec, compress=lambda plain, compress=compress: bytes(compress(plain))[:-9]),
            "CORRUPT_RECORD",
        )
        for name, (codec, compress) in CODECS.items()
    },
    **{
        f"bomb of {name}": (batch_of(*GOOD, codec=codec, compress=compress, body=bytes(MOST_UNPACKED_BYTES + 1)), "TOO_LARGE_UNPACKED")
        for name, (codec, compress) in CODECS.items()
    },
    "empty": (batch_of(*GOOD, body=b""), "CORRUPT_RECORD"),
    "varint without end": (batch_of(*GOOD, body=b"\xff" * 40), "CORRUPT_RECORD"),
    "record longer than its batch": (batch_of(*GOOD, body=b"\xfe\x01" + b"\x00" * 30), "CORRUPT_RECORD"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_batch_that_cannot_be_read_is_one_record_that_stands_for_it_and_what_follows_is_read(name: str) -> None:
    raw, reason = UNREADABLE[name]

    bad, good = poll(raw, after(len(GOOD)))

    assert isinstance(bad.value, Unreadable)
    assert (bad.value.reason, bad.offset, bad.key) == (reason, 14, None)
    assert bad.value.detail.startswith("offsets 10 to 14: ")
    assert len(bad.value) <= 64 * 1024
    assert (good.offset, good.value) == (15, b"after")
    with pytest.raises(InvalidMessage, match=reason):
        read_record(bad)


def record_body(index: int, *, key: bytes = b"\x02k", value: bytes = b"\x02v", headers: bytes = b"\x00", size: int | None = None) -> bytes:
    """Return a record as it lies in a batch; each part is given with its own length in front."""
    rest = b"\x00\x00" + bytes([index * 2]) + key + value + headers
    return bytes([(len(rest) if size is None else size) * 2]) + rest


@pytest.mark.parametrize(
    "bad",
    [
        record_body(1, key=b"\x7ek"),
        record_body(1, value=b"\xff\xff\xff\xff\x0fv"),
        record_body(1, headers=b"\x01"),
        record_body(1, headers=b"\x40"),
        record_body(1, headers=b"\xfe\xff\x01"),
        record_body(9),
        record_body(0),
    ],
    ids=["key", "value", "negative headers", "headers that are not there", "too many headers", "offset after the batch", "offset again"],
)
def test_a_malformed_record_costs_itself_alone(bad: bytes) -> None:
    body = record_body(0) + bad + record_body(2)

    records = poll(batch_of(*GOOD[:3], body=body))

    assert [record.offset for record in records] == [10, 11, 12]
    assert [isinstance(record.value, Unreadable) for record in records] == [False, True, False]


def test_a_record_with_more_headers_than_are_read_costs_itself_alone() -> None:
    records = poll(batch_of(GOOD[0], (b"k", b"v", [("", b"")] * 1001), (b"k", b"v", [("", b"")] * 1000)))

    assert [isinstance(record.value, Unreadable) for record in records] == [False, True, False]


def test_a_batch_whose_header_is_damaged_too_gives_nothing_away() -> None:
    raw = batch_of(*GOOD)
    struct.pack_into(">i", raw, 23, 2**30)
    records = LenientPartitionRecords(0, TopicPartition("in", 0), MemoryRecords(bytes(raw)))

    with pytest.raises(CorruptRecordError):
        records.take(10)


def test_a_call_hands_over_so_many_bytes_and_the_next_one_goes_on() -> None:
    records = LenientPartitionRecords(0, TopicPartition("in", 0), MemoryRecords(bytes(batch_of(*[(b"", b"v" * 1000, [])] * 10))))
    taken = []
    for _ in range(4):
        records.budget = 2500
        taken.append(len(records.take(100)))

    assert taken == [3, 3, 3, 1]
    assert not records.take(100)


_BOMBS = """
import resource, sys
from tests.unit.chassis.test_kafka_records import CODECS, GOOD, batch_of, poll
import cramjam

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name, bomb in (("gzip", 1), ("lz4", 3), ("zstd", 4)):
    compressor = getattr(cramjam, name).Compressor()
    chunk = bytes(1 << 20)
    for _ in range(1024):
        compressor.compress(chunk)
    packed = bytes(compressor.finish())
    found = poll(batch_of(*GOOD, codec=bomb, compress=lambda _plain, packed=packed: packed))
    assert [record.value.reason for record in found] == ["TOO_LARGE_UNPACKED"], found
    del found
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((after - before) // 1024)
"""


def test_gigabytes_in_a_batch_cost_some_megabytes() -> None:
    done = subprocess.run([sys.executable, "-c", _BOMBS], capture_output=True, text=True, check=False, cwd=ROOT, timeout=120)

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 100, f"{done.stdout} MB for three batches of 1 GiB each"
