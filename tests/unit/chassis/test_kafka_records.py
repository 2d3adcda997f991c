"""Records with header names that are not UTF-8 are read like others."""

from __future__ import annotations

import pytest
from kafka.record import MemoryRecords, MemoryRecordsBuilder

import chassis.kafka_records  # noqa: F401 - what is tested


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
