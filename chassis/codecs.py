"""Unpacks compressed record batches, never into more than a given number of bytes.

A batch of 1 MiB can unpack to gigabytes, and `kafka-python` sets no limit. Here the output buffer has a fixed size: a batch that does not
fit raises an error instead of filling the memory.

Formats: https://github.com/apache/kafka/tree/trunk/clients/src/main/java/org/apache/kafka/common/compress
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import cramjam

from chassis.message import InvalidMessage

if TYPE_CHECKING:
    from collections.abc import Callable

CORRUPT = "CORRUPT_RECORD"
UNKNOWN_CODEC = "UNKNOWN_CODEC"
TOO_LARGE = "TOO_LARGE_UNPACKED"

_USUAL_RATIO = 20
_SMALL = 16 * 1024
_XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_HEADER = 16
_BLOCK_SIZE = struct.Struct(">i")


def unpack(codec: int, packed: bytes, limit: int) -> bytearray:
    """Return the unpacked payload.

    Args:
        codec: Compression type of the batch, 1–4 (https://kafka.apache.org/documentation/#recordbatch).
        packed: Payload of the batch.
        limit: Most bytes that it may unpack to.

    Raises:
        InvalidMessage: `UNKNOWN_CODEC`, `CORRUPT_RECORD`, or `TOO_LARGE_UNPACKED`.
    """
    found = _CODECS.get(codec)
    if found is None:
        raise InvalidMessage(UNKNOWN_CODEC, f"compression type {codec} does not exist")
    name, into = found
    usual = min(limit, _USUAL_RATIO * len(packed) + _SMALL)
    for size in (usual, limit):
        output = bytearray(size)
        try:
            written = into(packed, output)
        except (cramjam.DecompressionError, struct.error, ValueError) as error:
            if not _is_full(error):
                raise InvalidMessage(CORRUPT, f"the batch is not valid {name}") from error
        else:
            del output[written:]
            return output
    raise InvalidMessage(TOO_LARGE, f"the batch unpacks to more than {limit} bytes")


def _is_full(error: Exception) -> bool:
    """Return whether the output buffer was too small. The library has one error class, so that only the text distinguishes the causes."""
    return isinstance(error, _OutputFull) or "whole buffer" in str(error)


class _OutputFull(ValueError):
    """The output does not fit."""


def _snappy(packed: bytes, output: bytearray) -> int:
    """Unpack raw snappy, or the blocks in which Java and librdkafka frame it (https://github.com/xerial/snappy-java)."""
    if not packed.startswith(_XERIAL_MAGIC):
        return _snappy_block(packed, memoryview(output))
    position, written = _XERIAL_HEADER, 0
    while position < len(packed):
        (size,) = _BLOCK_SIZE.unpack_from(packed, position)
        position += _BLOCK_SIZE.size
        if not 0 <= size <= len(packed) - position:
            raise ValueError("a block ends outside of the payload")
        written += _snappy_block(packed[position : position + size], memoryview(output)[written:])
        position += size
    return written


def _snappy_block(block: bytes, output: memoryview) -> int:
    size: int = cramjam.snappy.decompress_raw_len(block)
    if size > len(output):
        raise _OutputFull
    output[:size] = cramjam.snappy.decompress_raw(block)
    return size


_CODECS: dict[int, tuple[str, Callable[[bytes, bytearray], int]]] = {
    1: ("gzip", cramjam.gzip.decompress_into),
    2: ("snappy", _snappy),
    3: ("lz4", cramjam.lz4.decompress_into),
    4: ("zstd", cramjam.zstd.decompress_into),
}
"""Compression type → name, and the function that unpacks into a buffer and returns the size in bytes."""
