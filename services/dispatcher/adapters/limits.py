"""Limits of the dispatcher's requests, as sent.

They are twice the domain's limits: the domain does not count blanks around a value, and names all violations of a command at once. A value
beyond these limits is refused before it reaches the domain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chassis.request_limits import PAGE_TOKEN, Limit
from services.dispatcher.domain.checks import MAX_CODE
from services.dispatcher.domain.commands import MAX_CHANNEL, MAX_CO_HANDLERS, MAX_NOTE, MAX_REF, MAX_REFS, MAX_RESOLUTION

if TYPE_CHECKING:
    from collections.abc import Mapping

_CODE = Limit(characters=2 * MAX_CODE)
_NOTE = Limit(characters=2 * MAX_NOTE, domain_checked=True)

LIMITS: Mapping[str, Limit] = {
    "GetDispatchRequest.ticket_id": _CODE,
    "ListDispatchesRequest.unit": _CODE,
    "ListDispatchesRequest.states": Limit(items=100),
    "ListDispatchesRequest.page_token": PAGE_TOKEN,
    "AcceptRequest.ticket_id": _CODE,
    "AcceptRequest.request_id": _CODE,
    "ReturnRequest.ticket_id": _CODE,
    "ReturnRequest.request_id": _CODE,
    "ReturnRequest.suggested_unit": _CODE,
    "ReturnRequest.note": _NOTE,
    "RequestSupplementRequest.ticket_id": _CODE,
    "RequestSupplementRequest.request_id": _CODE,
    "RequestSupplementRequest.question": _NOTE,
    "RequestExtensionRequest.ticket_id": _CODE,
    "RequestExtensionRequest.request_id": _CODE,
    "RequestExtensionRequest.reason": _NOTE,
    "ReportProgressRequest.ticket_id": _CODE,
    "ReportProgressRequest.request_id": _CODE,
    "ReportProgressRequest.note": _NOTE,
    "ResolveRequest.ticket_id": _CODE,
    "ResolveRequest.request_id": _CODE,
    "ResolveRequest.resolution": Limit(characters=2 * MAX_RESOLUTION, domain_checked=True),
    "ResolveRequest.attachment_refs": Limit(characters=2 * MAX_REF, items=2 * MAX_REFS, domain_checked=True),
    "ListTriageRequest.page_token": PAGE_TOKEN,
    "DecideTriageRequest.ticket_id": _CODE,
    "TriageAssignment.unit": _CODE,
    "TriageAssignment.co_handler_units": Limit(characters=2 * MAX_CODE, items=2 * MAX_CO_HANDLERS, domain_checked=True),
    "TriageAssignment.class_code": _CODE,
    "TriageAssignment.note": _NOTE,
    "TriageDecline.reason": _NOTE,
    "TriageDecline.right_channel": Limit(characters=2 * MAX_CHANNEL, domain_checked=True),
    "TransferRequest.ticket_id": _CODE,
    "TransferRequest.unit": _CODE,
    "TransferRequest.reason": _NOTE,
    "DecideExtensionRequest.ticket_id": _CODE,
    "DecideExtensionRequest.note": _NOTE,
}
