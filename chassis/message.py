"""Messages on topics: CloudEvents 1.0, Kafka protocol binding, binary mode.

The value is the bare payload; every attribute is a header (`ce_id`, `ce_type`, …). The record's key is the aggregate's id.
Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, Self

from google.protobuf import json_format
from uuid_utils import uuid7

from chassis import trace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.message import Message

PROTOBUF = "application/protobuf"
JSON = "application/json"

Headers = list[tuple[str, bytes]]


class Record(Protocol):
    """What is used of a Kafka client's record."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class InvalidMessage(Exception):
    """A message can never be handled; it belongs in the dead-letter topic.

    Attributes:
        reason: Upper-case word for programs, e.g. `UNDECODABLE`.
        detail: What is wrong, for people; no personal data.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Unreadable(bytes):
    """The value of a record that could not be read: the first of its raw bytes.

    Attributes:
        reason: Upper-case word for programs, e.g. `CORRUPT_RECORD`.
        detail: Description of the error, and the offsets that the record replaces.
        size: Size of the raw value in bytes.
    """

    reason: str
    detail: str
    size: int

    def __new__(cls, kept: bytes, *, reason: str, detail: str, size: int) -> Self:
        """Keep the first raw bytes of the value."""
        made = super().__new__(cls, kept)
        made.reason, made.detail, made.size = reason, detail, size
        return made


class RetryLater(Exception):
    """The message is fine but cannot be handled now; it is tried again after a back-off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutMessage:
    """A message to publish.

    Attributes:
        id: CloudEvents id; consumers recognise repetitions by it.
        topic: Topic to publish on.
        key: Aggregate id; messages of one key keep their order.
        type: CloudEvents type: the payload's full message name.
        subject: CloudEvents subject.
        time: When what it tells happened.
        data: Payload.
        content_type: Media type of the payload.
        traceparent: W3C trace context of its cause.
        verbatim_headers: The record's headers as they are, instead of those of CloudEvents; for dead letters and redrives.
    """

    id: str
    topic: str
    key: str
    type: str
    subject: str
    time: datetime
    data: bytes
    content_type: str = PROTOBUF
    traceparent: str | None = field(default_factory=trace.current)
    verbatim_headers: tuple[tuple[str, str], ...] | None = None

    def headers(self, source: str) -> list[tuple[str, str]]:
        """Return the record's headers, for a publisher with CloudEvents source `source`."""
        if self.verbatim_headers is not None:
            return list(self.verbatim_headers)
        attributes = [
            ("ce_specversion", "1.0"),
            ("ce_id", self.id),
            ("ce_source", source),
            ("ce_type", self.type),
            ("ce_subject", self.subject),
            ("ce_time", self.time.astimezone(UTC).isoformat()),
            ("content-type", self.content_type),
        ]
        if self.traceparent is not None:
            attributes.append(("traceparent", self.traceparent))
        return attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class InMessage:
    """A message that was read. Attributes as in `OutMessage`; CloudEvents attributes that are absent are empty.

    Attributes:
        time: The event's own time, or the record's when it has none.
        record_time: When the record was written, by the clock of its producer.
    """

    id: str
    topic: str
    partition: int
    offset: int
    key: str
    type: str
    source: str
    subject: str
    time: datetime
    record_time: datetime
    data: bytes
    content_type: str
    traceparent: str | None

    @property
    def position(self) -> str:
        """Where it stands in the log, `topic/partition/offset`: a stand-in for an id."""
        return f"{self.topic}/{self.partition}/{self.offset}"


def new_id() -> str:
    """Return a new id: UUIDv7 (RFC 9562 §5.7), so that ids of the same time lie together in an index."""
    return str(uuid7())


def proto_message(topic: str, key: str, message: Message, *, time: datetime, message_id: str | None = None) -> OutMessage:
    """Build a message whose payload is bare protobuf."""
    return OutMessage(
        id=message_id or new_id(),
        topic=topic,
        key=key,
        type=message.DESCRIPTOR.full_name,
        subject=key,
        time=time,
        data=message.SerializeToString(deterministic=True),
    )


def json_message(topic: str, key: str, message: Message, *, time: datetime, message_id: str | None = None) -> OutMessage:
    """Build a message whose payload is canonical protobuf JSON."""
    return OutMessage(
        id=message_id or new_id(),
        topic=topic,
        key=key,
        type=message.DESCRIPTOR.full_name,
        subject=key,
        time=time,
        data=json_format.MessageToJson(message, indent=None, ensure_ascii=False).encode(),
        content_type=JSON,
    )


def read_record(record: Record) -> InMessage:
    """Read a record's attributes. The payload is not looked at.

    Raises:
        InvalidMessage: The record could not be read or has no value, a header or the key is not UTF-8 or holds NUL, or a time is none.
    """
    if isinstance(record.value, Unreadable):
        raise InvalidMessage(record.value.reason, record.value.detail)
    if record.value is None:
        raise InvalidMessage("NO_VALUE", "the record has no value")
    headers = _text_headers(record.headers)
    record_time = _record_time(record.timestamp)
    return InMessage(
        id=headers.get("ce_id", ""),
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=_text("key", record.key or b""),
        type=headers.get("ce_type", ""),
        source=headers.get("ce_source", ""),
        subject=headers.get("ce_subject", ""),
        time=_time(headers.get("ce_time")) or record_time,
        record_time=record_time,
        data=record.value,
        content_type=headers.get("content-type", ""),
        traceparent=headers.get("traceparent"),
    )


def _text_headers(headers: Sequence[tuple[str, bytes]]) -> Mapping[str, str]:
    return {name: _text(name, value or b"") for name, value in headers}


def _text(name: str, value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise InvalidMessage("UNDECODABLE", f"{name} is not UTF-8") from error
    if "\x00" in text:
        raise InvalidMessage("UNDECODABLE", f"{name} holds NUL, which no database takes")
    return text


def _record_time(milliseconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidMessage("UNDECODABLE", f"the record's timestamp {milliseconds} is no time") from error


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidMessage("UNDECODABLE", "ce_time is not RFC 3339") from error
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
