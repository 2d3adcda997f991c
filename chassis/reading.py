"""Protobuf of messages: what a service reads of each type, and what a payload must hold."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from google.protobuf.message import DecodeError, Message

from chassis.message import InvalidMessage

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.timestamp_pb2 import Timestamp

    from chassis.message import InMessage

M = TypeVar("M", bound=Message)
T = TypeVar("T")


def parse(message: InMessage, kind: type[M]) -> M:
    """Return a message's payload.

    Raises:
        InvalidMessage: `UNDECODABLE`: it is not of that kind.
    """
    try:
        return kind.FromString(message.data)
    except DecodeError as error:
        raise InvalidMessage("UNDECODABLE", f"the payload is no {kind.DESCRIPTOR.full_name}") from error


def ticket_id_of(payload: Any) -> str:  # noqa: ANN401 - every event has the field
    """Return the ticket that a payload tells of.

    Raises:
        InvalidMessage: `INCOMPLETE`: it names none.
    """
    ticket_id: str = payload.ticket_id
    if not ticket_id:
        raise InvalidMessage("INCOMPLETE", "ticket_id is empty")
    return ticket_id


def instant_of(payload: Message, field: str) -> datetime:
    """Return an instant that a payload must hold, in UTC.

    Raises:
        InvalidMessage: `INCOMPLETE`: it is missing, or outside of the years 1–9999.
    """
    if not payload.HasField(field):
        raise InvalidMessage("INCOMPLETE", f"{field} is missing")
    timestamp: Timestamp = getattr(payload, field)
    try:
        return timestamp.ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidMessage("INCOMPLETE", f"{field} is out of range") from error


class Reading(Generic[T]):
    """What a service reads of messages. Types that it does not know tell nothing, so that a publisher may be ahead of us.

    Attributes:
        types: CloudEvents types of the messages that are of use.
    """

    def __init__(self, *readers: tuple[type[Message], Callable[[Any], T | None]]) -> None:
        """Read each kind of payload by a function that returns what it tells, None for nothing, or raises `InvalidMessage`."""
        self._readers = {kind.DESCRIPTOR.full_name: (kind, read) for kind, read in readers}
        self.types = frozenset(self._readers)

    def heeds(self, message: InMessage) -> bool:
        """Tell whether anything is done with a message; one without a type is buried."""
        return not message.type or message.type in self.types

    def decode(self, message: InMessage) -> T | None:
        """Return what a message tells; None if that is nothing of use.

        Raises:
            InvalidMessage: It has no type, or the payload is not what its type says, or lacks something.
        """
        if not message.type:
            raise InvalidMessage("NO_TYPE", "the message has no ce_type")
        reader = self._readers.get(message.type)
        if reader is None:
            return None
        kind, read = reader
        return read(parse(message, kind))
