"""Reads Kafka records whose header names are not UTF-8.

kafka-python takes such a record for damage: `poll` raises on it for ever, and every topic of the consumer stands still, by the fault of one
outsider who, say, writes names in GBK. Kafka itself takes any bytes. Here what is not ASCII in such a name is read as `?`: a header that
nobody knows, on a message that is like any other.
"""

from __future__ import annotations

from typing import Any

from kafka.record import memory_records
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.util import decode_varint

_ASCII = 0x80


class LenientRecordBatch(DefaultRecordBatch):  # type: ignore[misc]  # the library is not typed
    """A batch of records of message format 2."""

    def _read_msg(self) -> Any:  # noqa: ANN401 - the library's record
        try:
            return super()._read_msg()
        except UnicodeDecodeError:
            # Nothing was taken yet: the position moves on with a record that was read whole.
            _clean_header_names(self._buffer, self._pos)
            return super()._read_msg()


def _clean_header_names(buffer: bytearray, position: int) -> None:
    """Replace what is not ASCII in the header names of the record at `position` (https://kafka.apache.org/documentation/#record)."""
    for _ in ("length", "attributes", "timestamp", "offset"):
        _, position = decode_varint(buffer, position)
    for _ in ("key", "value"):
        position = _skip(buffer, position)
    headers, position = decode_varint(buffer, position)
    for _ in range(headers):
        size, position = decode_varint(buffer, position)
        name = buffer[position : position + size]
        buffer[position : position + size] = bytes(byte if byte < _ASCII else ord("?") for byte in name)
        position = _skip(buffer, position + size)


def _skip(buffer: bytearray, position: int) -> int:
    size, position = decode_varint(buffer, position)
    return int(position + max(size, 0))


memory_records.DefaultRecordBatch = LenientRecordBatch
