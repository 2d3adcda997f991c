"""Receipts: what units answer on their own topics, as canonical protobuf JSON.

They are written by systems outside, so that nothing about them is certain but the topic, which tells the unit.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from google.protobuf import json_format

from chassis.message import InvalidMessage
from paidan.dispatcher.v1 import dispatch_pb2, unit_messages_pb2
from services.dispatcher.domain.checks import MAX_CODE, is_code
from services.dispatcher.domain.commands import Accept, ReportProgress, RequestExtension, RequestSupplement, Resolve, Return
from services.dispatcher.domain.errors import InvalidFields
from services.dispatcher.domain.values import ReturnReason, TicketId, UnitCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.dispatcher.domain.commands import UnitCommand

_PREFIX, _SUFFIX = "receipts.", ".v1"

UNREADABLE = "UNREADABLE"
INVALID_FIELD = "INVALID_FIELD"


def unit_of(topic: str) -> UnitCode | None:
    """Return the unit that answers on a topic; None if it is no topic of receipts."""
    if topic.startswith(_PREFIX) and topic.endswith(_SUFFIX):
        return UnitCode(topic.removeprefix(_PREFIX).removesuffix(_SUFFIX))
    return None


def inbox_id(unit: UnitCode, data: bytes) -> str:
    """Return the id by which a repetition of a receipt is recognised: the unit's own, else the hash of the bytes."""
    receipt_id = readable(data, "receiptId", "receipt_id")
    return f"{unit}:{receipt_id or 'sha256-' + hashlib.sha256(data).hexdigest()}"


def readable(data: bytes, *names: str) -> str:
    """Return a short text field of a receipt by its JSON name or its proto name, as far as it can be read; empty if not."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return ""
    values = [body.get(name) for name in names] if isinstance(body, dict) else []
    found = next((value for value in values if isinstance(value, str)), "")
    return found if is_code(found) else ""


def read_receipt(unit: UnitCode, data: bytes) -> UnitCommand:
    """Return the command that a receipt of `unit` stands for.

    Raises:
        InvalidMessage: It is no JSON of the right shape (UNREADABLE), or a field is too long or out of range (INVALID_FIELD).
    """
    receipt = unit_messages_pb2.Receipt()
    try:
        json_format.Parse(data, receipt, ignore_unknown_fields=True, max_recursion_depth=20)
    except (json_format.ParseError, ValueError, RecursionError) as error:
        raise InvalidMessage(UNREADABLE, "the receipt is no JSON of a paidan.dispatcher.v1.Receipt") from error
    if not receipt.ticket_id:
        raise InvalidMessage(UNREADABLE, "the receipt names no ticketId")
    if len(receipt.receipt_id) > MAX_CODE:
        raise InvalidMessage(INVALID_FIELD, f"receiptId has {len(receipt.receipt_id)} characters; at most {MAX_CODE} are allowed")
    try:
        return _command(unit, receipt)
    except InvalidFields as error:
        raise InvalidMessage(INVALID_FIELD, str(error)) from error


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
