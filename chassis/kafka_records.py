"""Reads Kafka records so that an unreadable one stops neither its partition nor others. Importing this module patches the client.

For a batch that it cannot read, `kafka-python` raises the same error at each `poll`: the position never advances, and no other partition
is read. Here such a record or batch becomes a record whose value is `Unreadable`. It has the last offset that it replaces, so that the
position advances past it. The reader decides what to do with it; sinks write a dead letter.

    fetch ► batches ► checksum ► unpack (bounded) ► records ► poll (bounded)
                        │           │                 │
                        └───────────┴── Unreadable ◄──┘

An error of the broker for one partition pauses that partition for a while; the others are read.
"""

from __future__ import annotations

import struct
import time
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import structlog
from kafka import errors as kafka_errors
from kafka.consumer import group
from kafka.consumer.fetcher import Fetcher
from kafka.record import memory_records
from kafka.record.default_records import DefaultRecord, DefaultRecordBatch
from kafka.record.util import decode_varint

from chassis.codecs import CORRUPT, unpack
from chassis.message import InvalidMessage, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

log = structlog.get_logger()

MOST_UNPACKED_BYTES = 8 * 1024 * 1024
"""Largest unpacked size of a batch. By default producers collect at most 1 MiB, measured before compression."""

MOST_POLLED_BYTES = 8 * 1024 * 1024
"""Size of the records that one `poll` returns; the record that exceeds it is the last."""

MOST_HEADERS = 1000
"""Most headers of one record. Each costs at least a hundred bytes of memory."""

CONSUMER_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        # Records of aborted transactions have no effect.
        "isolation_level": "read_committed",
        # Bounds the time until a new topic is found.
        "metadata_max_age_ms": 2000,
    },
)
"""Options of every consumer."""

_KEPT_BYTES = 64 * 1024
_PARTITION_PAUSE = timedelta(seconds=2)
_ASCII = 0x80


class LenientRecordBatch(DefaultRecordBatch):  # type: ignore[misc]  # the library is not typed
    """A batch of records of message format 2 (https://kafka.apache.org/documentation/#recordbatch)."""

    __slots__ = ("_intact",)

    def __init__(self, buffer: Any) -> None:  # noqa: ANN401 - bytes of any kind
        try:
            super().__init__(buffer)
        except struct.error as error:
            raise kafka_errors.CorruptRecordError("the batch is shorter than its header") from error
        self._intact = True

    def validate_crc(self) -> bool:
        """Check the batch; return False only if the header is damaged too, so that even the offsets are unreliable."""
        self._intact = super().validate_crc()
        return self._intact or self.last_offset_delta == self._num_records - 1 >= 0

    def has_producer_id(self) -> bool:
        """Return whether the batch may belong to a transaction."""
        return self._intact and bool(super().has_producer_id())

    @property
    def is_control_batch(self) -> bool:
        """Whether the batch holds a marker of a transaction."""
        return self._intact and bool(super().is_control_batch)

    def __iter__(self) -> Iterator[DefaultRecord]:
        """Yield the records; an unreadable part becomes one record with an `Unreadable` value."""
        if not self._intact:
            yield self._unreadable_batch(InvalidMessage(CORRUPT, "the checksum is wrong"))
            return
        try:
            body, position = self._unpack()
        except InvalidMessage as error:
            yield self._unreadable_batch(error)
            return
        expected = self.base_offset
        for _ in range(self._num_records):
            try:
                end = _end_of_record(body, position)
            except InvalidMessage as error:
                yield self._unreadable(expected, self.last_offset, error, body[position:])
                return
            try:
                record = self._read(body, position, end, expected)
            except InvalidMessage as error:
                record = self._unreadable(expected, min(expected, self.last_offset), error, body[position:end])
            yield record
            expected, position = record.offset + 1, end

    def _unreadable_batch(self, error: InvalidMessage) -> DefaultRecord:
        return self._unreadable(self.base_offset, self.last_offset, error, self._buffer[self.HEADER_STRUCT.size :])

    def _unreadable(self, first: int, last: int, error: InvalidMessage, raw: bytearray) -> DefaultRecord:
        """Return the record that replaces an unreadable part."""
        where = f"offset {last}" if first >= last else f"offsets {first} to {last}"
        value = Unreadable(bytes(raw[:_KEPT_BYTES]), reason=error.reason, detail=f"{where}: {error.detail}", size=len(raw))
        return DefaultRecord(len(value), last, self.max_timestamp, self.timestamp_type, None, value, [])

    def _unpack(self) -> tuple[bytearray, int]:
        """Return a buffer and where in it the records begin."""
        if self.compression_type == self.CODEC_NONE:
            return self._buffer, self.HEADER_STRUCT.size
        return unpack(self.compression_type, bytes(self._buffer[self.HEADER_STRUCT.size :]), MOST_UNPACKED_BYTES), 0

    def _read(self, body: bytearray, position: int, end: int, expected: int) -> DefaultRecord:
        """Return the record between two positions (https://kafka.apache.org/documentation/#record).

        Raises:
            InvalidMessage: The record is malformed, or its offset is out of order.
        """
        try:
            size, position = decode_varint(body, position)
            _, position = decode_varint(body, position)
            delay, position = decode_varint(body, position)
            offset_delta, position = decode_varint(body, position)
            key, position = _bytes_at(body, position)
            value, position = _bytes_at(body, position)
            headers, position = _headers_at(body, position)
        except (ValueError, IndexError) as error:
            raise InvalidMessage(CORRUPT, "the record is malformed") from error
        offset = self.base_offset + offset_delta
        if position != end or not expected <= offset <= self.last_offset:
            raise InvalidMessage(CORRUPT, "the record's size or offset is wrong")
        timestamp = self.max_timestamp if self.timestamp_type == self.LOG_APPEND_TIME else self.first_timestamp + delay
        return DefaultRecord(size, offset, timestamp, self.timestamp_type, key, value, headers)


def _end_of_record(body: bytearray, position: int) -> int:
    try:
        size, start = decode_varint(body, position)
    except (ValueError, IndexError) as error:
        raise InvalidMessage(CORRUPT, "the batch ends before its last record") from error
    if not 0 <= size <= len(body) - start:
        raise InvalidMessage(CORRUPT, "a record ends outside of its batch")
    return int(start + size)


def _bytes_at(body: bytearray, position: int) -> tuple[bytes | None, int]:
    size, position = decode_varint(body, position)
    if size < 0:
        return None, position
    end = position + size
    if end > len(body):
        raise IndexError
    return bytes(body[position:end]), end


def _headers_at(body: bytearray, position: int) -> tuple[list[tuple[str, bytes | None]], int]:
    count, position = decode_varint(body, position)
    if not 0 <= count <= MOST_HEADERS:
        raise InvalidMessage(CORRUPT, f"the record has {count} headers; at most {MOST_HEADERS} are read")
    names, values = [], []
    end = len(body)
    for _ in range(count):
        # Inlined for speed: a record has about seven headers, and this loop takes most of the time of reading it.
        size, begin = decode_varint(body, position)
        position = begin + size if size > 0 else begin
        name = body[begin:position]
        size, begin = decode_varint(body, position)
        position = begin + size if size > 0 else begin
        values.append(bytes(body[begin:position]) if size >= 0 else None)
        names.append(name)
        if position > end:
            raise IndexError
    return list(zip(_texts(names), values, strict=True)), position


def _texts(names: list[bytearray]) -> list[str]:
    """Return the names of headers. Kafka allows any bytes. If one name is not UTF-8, `?` replaces all non-ASCII bytes of all names."""
    try:
        return [name.decode() for name in names]
    except UnicodeDecodeError:
        return [bytes(byte if byte < _ASCII else ord("?") for byte in name).decode() for name in names]


class LenientPartitionRecords(Fetcher.PartitionRecords):  # type: ignore[misc]  # the library is not typed
    """Fetched records of one partition."""

    budget = MOST_POLLED_BYTES
    """Bytes that may still be returned by this poll."""

    def take(self, n: int | None = None) -> list[Any]:
        """Return the next records: at most `n`, and none after the one that spends the budget."""
        self._maybe_raise_next_inline_exception()
        records: list[Any] = []
        if self.record_iterator is None:
            return records
        try:
            for record in self.record_iterator:
                records.append(record)
                self.budget -= len(record.value or b"") + len(record.key or b"") + max(0, record.serialized_header_size)
                if len(records) == n or self.budget <= 0:
                    break
        except kafka_errors.KafkaError as error:
            if not records:
                raise
            self._next_inline_exception = error
        return records


class LenientFetcher(Fetcher):  # type: ignore[misc]  # the library is not typed
    """Fetches for a consumer. An error of one partition pauses that partition only."""

    PartitionRecords = LenientPartitionRecords

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - the library's
        super().__init__(*arguments, **options)
        self._next_partition_records: Any = None
        self._held: dict[Any, float] = {}
        self._budget = MOST_POLLED_BYTES

    def fetched_records(self, max_records: int | None = None, *, update_offsets: bool = True) -> Any:  # noqa: ANN401 - the library's
        """Return records that were fetched, up to a number and a size."""
        self._budget = MOST_POLLED_BYTES
        if not self._next_partition_records:
            # The library returns to buffered records of a resumed partition only if this is None.
            self._next_partition_records = None
        return super().fetched_records(max_records, update_offsets=update_offsets)

    def _append(self, drained: Any, part: Any, max_records: int, update_offsets: bool) -> int:  # noqa: ANN401, FBT001 - the library's
        part.budget = self._budget
        try:
            taken = super()._append(drained, part, max_records, update_offsets)
        except kafka_errors.KafkaError as error:
            self._hold(part.topic_partition, error)
            part.drain()
            return 0
        self._budget = part.budget
        # A spent byte budget ends the call, as a full record count does.
        return int(taken) if self._budget > 0 else max_records

    def _parse_fetched_data(self, completed_fetch: Any) -> Any:  # noqa: ANN401 - the library's
        try:
            return super()._parse_fetched_data(completed_fetch)
        except kafka_errors.KafkaError as error:
            self._hold(completed_fetch.topic_partition, error)
            return None

    def _fetchable_partitions(self) -> list[Any]:
        now = time.monotonic()
        self._held = {partition: until for partition, until in self._held.items() if until > now}
        return [partition for partition in super()._fetchable_partitions() if partition not in self._held]

    def _hold(self, partition: Any, error: Exception) -> None:  # noqa: ANN401 - the library's
        log.error("partition_held_back", topic=partition.topic, partition=partition.partition, error=str(error))
        self._held[partition] = time.monotonic() + _PARTITION_PAUSE.total_seconds()


memory_records.DefaultRecordBatch = LenientRecordBatch
group.Fetcher = LenientFetcher
