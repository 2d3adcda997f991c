"""Receipts: what units answer on their own topics, as canonical protobuf JSON.

They are written by systems outside, so that nothing about them is certain but the topic, which tells the unit.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format

from chassis.message import InvalidMessage
from paidan.dispatcher.v1 import dispatch_pb2, unit_messages_pb2
from services.dispatcher.domain.checks import MAX_CODE, Violations, is_code
from services.dispatcher.domain.commands import Accept, ReportProgress, RequestExtension, RequestSupplement, Resolve, Return
from services.dispatcher.domain.errors import InvalidFields
from services.dispatcher.domain.values import ReturnReason, TicketId, UnitCode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.dispatcher.domain.commands import UnitCommand

_PREFIX, _SUFFIX = "receipts.", ".v1"

UNREADABLE = "UNREADABLE"
INVALID_FIELD = "INVALID_FIELD"

_UTF_8 = "UTF-8"


def unit_of(topic: str) -> UnitCode | None:
    """Return the unit that answers on a topic; None if it is no topic of receipts."""
    if topic.startswith(_PREFIX) and topic.endswith(_SUFFIX):
        return UnitCode(topic.removeprefix(_PREFIX).removesuffix(_SUFFIX))
    return None


def inbox_id(unit: UnitCode, data: bytes) -> str:
    """Return the id by which a repetition of a receipt is recognised: the unit's own, else the hash of the bytes."""
    receipt_id = readable(data, "receiptId", "receipt_id")
    return request_key(unit, receipt_id or "sha256-" + hashlib.sha256(data).hexdigest())


def request_key(unit: UnitCode, request_id: str) -> str:
    """Return the inbox id of a unit's request; receipts and RPCs share it."""
    return f"{unit}:{request_id}"


def readable(data: bytes, *names: str) -> str:
    """Return a field of a receipt that is a valid id, by its JSON name or its proto name; empty if there is none."""
    value = _field(data, names)
    return value if isinstance(value, str) and not isinstance(value, _Number) and is_code(value) else ""


def echoed(data: bytes, *names: str) -> str:
    """Return a field of a receipt as the unit wrote it, for the refusal: also a number, a long text, or a text in GBK or UTF-16.

    Returns:
        At most 64 printable characters; empty if there is no such field.
    """
    value = _field(data, names)
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value)
    shown = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text[:MAX_CODE])
    return shown if len(text) <= MAX_CODE else f"{shown[:-1]}…"


def read_receipt(unit: UnitCode, data: bytes) -> UnitCommand:
    """Return the command of a receipt of `unit`. A byte order mark of UTF-8 is ignored.

    Raises:
        InvalidMessage: It is not UTF-8 or not JSON of the right shape (UNREADABLE), or a field is too long or out of range (INVALID_FIELD).
    """
    text, encoding = _decoded(data)
    if encoding != _UTF_8:
        looks = f"it looks like {encoding}" if encoding else "its encoding is not known"
        raise InvalidMessage(UNREADABLE, f"the receipt is not UTF-8, {looks}: write UTF-8")
    receipt = unit_messages_pb2.Receipt()
    try:
        json_format.Parse(text, receipt, ignore_unknown_fields=True, max_recursion_depth=20)
    except (json_format.ParseError, ValueError, RecursionError) as error:
        raise InvalidMessage(UNREADABLE, _why_unreadable(text, str(error))) from error
    if not receipt.ticket_id:
        # The parser takes a list or a text for an empty message.
        what = "names no ticketId" if isinstance(_parsed(text), dict) else "is no JSON object"
        raise InvalidMessage(UNREADABLE, f"the receipt {what}")
    violations = Violations()
    violations.code("receiptId", receipt.receipt_id)
    try:
        violations.raise_if_any()
        return _command(unit, receipt)
    except InvalidFields as error:
        raise InvalidMessage(INVALID_FIELD, str(error)) from error


class _Number(str):
    """A JSON number in its original spelling."""

    __slots__ = ()


def _parsed(text: str) -> Any:  # noqa: ANN401 - JSON
    return json.loads(text, parse_int=_Number, parse_float=_Number, parse_constant=_Number)


def _decoded(data: bytes) -> tuple[str, str]:
    """Return a receipt's text and the name of its encoding.

    The name is empty if the encoding is not known; the text then has replacement characters. Zero bytes at the start show UTF-16 or UTF-32,
    since JSON starts with ASCII (RFC 4627 §3). Bytes that are JSON in GB 18030, the superset of GBK, are taken for GBK.
    """
    detected = json.detect_encoding(data)
    if not detected.startswith("utf-8"):
        return data.decode(detected, errors="replace"), detected[:6].upper()
    try:
        return data.decode("utf-8-sig"), _UTF_8
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":  # truncated within a character; not JSON
            return data.decode("utf-8-sig", errors="replace"), _UTF_8
    text = data.decode("gb18030", errors="replace")
    with suppress(ValueError, RecursionError):
        _parsed(text)
        return text, "" if "\N{REPLACEMENT CHARACTER}" in text else "GBK"
    return text, ""


def _field(data: bytes, names: Sequence[str]) -> object:
    """Return the value of a top-level field by one of its names; None if there is none.

    A receipt that is cut off, in a list, or a text within JSON (written twice) is searched for the name.
    """
    text, _ = _decoded(data)
    body: object = text
    with suppress(ValueError, RecursionError):
        body = _parsed(text)
    if isinstance(body, dict):
        found = [body.get(name) for name in names]
    else:
        found = [_scanned(body if isinstance(body, str) else text, name) for name in names]
    return next((value for value in found if value is not None), None)


def _scanned(text: str, name: str) -> object:
    """Return the text or number that follows a name, quoted in either way or not at all, in what is no JSON object as a whole."""
    double_quoted, single_quoted, number = r'"(?:[^"\\\n]|\\.){0,200}"', r"'([^'\\\n]{0,200})'", "-?[0-9][0-9.eE+-]{0,200}"
    found = re.search(rf"""(?<!\w)["']?{name}["']?\s*:\s*(?:{single_quoted}|({double_quoted}|{number}))""", text)
    if found is None or found[1] is not None:
        return found and found[1]
    with suppress(ValueError):
        return _parsed(found[2])
    return None


def _why_unreadable(text: str, error: str) -> str:
    """Describe why a receipt is not a `Receipt`, without its content."""
    try:
        body = json.loads(text, object_pairs_hook=_without_repetition)
    except json.JSONDecodeError as problem:
        return f"the receipt is no JSON: {problem.msg} in line {problem.lineno}, column {problem.colno}"
    except _Repeated:
        return "a name stands twice in one object of the receipt"
    except (ValueError, RecursionError):
        return "the receipt is no JSON of a paidan.dispatcher.v1.Receipt"
    if not isinstance(body, dict):
        return "the receipt is no JSON object"
    for name in ("receiptId", "receipt_id"):
        if not isinstance(body.get(name), str | None):
            return f"{name} is no text: write it in quotation marks"
    named = re.match(r"Failed to parse (\w+) field", error)
    field = f"{named[1]} does not fit: " if named and named[1] in _FIELDS else ""
    return f"{field}the receipt is no JSON of a paidan.dispatcher.v1.Receipt"


class _Repeated(ValueError):
    """A name occurs twice in one object."""


def _without_repetition(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    body = dict(pairs)
    if len(body) < len(pairs):
        raise _Repeated
    return body


_FIELDS = frozenset(name for field in unit_messages_pb2.Receipt.DESCRIPTOR.fields for name in (field.name, field.json_name))


def _command(unit: UnitCode, receipt: unit_messages_pb2.Receipt) -> UnitCommand:
    ticket_id, epoch = TicketId(receipt.ticket_id), receipt.epoch
    match receipt.WhichOneof("action"):
        case "accept":
            return Accept(unit=unit, ticket_id=ticket_id, epoch=epoch)
        case "return":
            returned: unit_messages_pb2.ReturnAction = getattr(receipt, "return")
            return Return(
                unit=unit,
                ticket_id=ticket_id,
                epoch=epoch,
                reason=return_reason(returned.reason),
                suggested_unit=returned.suggested_unit,
                note=returned.note,
            )
        case "request_supplement":
            return RequestSupplement(unit=unit, ticket_id=ticket_id, epoch=epoch, question=receipt.request_supplement.question)
        case "request_extension":
            wish = receipt.request_extension
            return RequestExtension(unit=unit, ticket_id=ticket_id, epoch=epoch, workdays=wish.workdays, reason=wish.reason)
        case "report_progress":
            return ReportProgress(unit=unit, ticket_id=ticket_id, epoch=epoch, note=receipt.report_progress.note)
        case "resolve":
            return Resolve(
                unit=unit,
                ticket_id=ticket_id,
                epoch=epoch,
                resolution=receipt.resolve.resolution,
                attachment_refs=tuple(receipt.resolve.attachment_refs),
            )
        case _:
            raise InvalidMessage(UNREADABLE, "the receipt says nothing that the unit did: one of accept, return, requestSupplement, …")


def return_reason(value: int) -> ReturnReason:
    """Return the reason of a return.

    Args:
        value: Of the enum ReturnReason; may be one that does not exist, since proto3's enums are open.

    Raises:
        InvalidFields: None was given, or one that does not exist.
    """
    reason = _RETURN_REASONS.get(value)
    if reason is None:
        names = ", ".join(f"RETURN_REASON_{name}" for name in ReturnReason)
        raise InvalidFields([("reason", f"is required, one of {names}")])
    return reason


_RETURN_REASONS: Mapping[int, ReturnReason] = {
    dispatch_pb2.ReturnReason.Value(f"RETURN_REASON_{reason}"): reason for reason in ReturnReason
}
