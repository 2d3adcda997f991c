"""Limits of intake's requests, as sent.

They are twice the domain's limits: the domain does not count blanks around a value, and names all violations of a form at once. A value
beyond these limits is refused before it reaches the domain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chassis.request_limits import PAGE_TOKEN, Limit
from kernel.phone import MAX_SENT as MAX_PHONE
from services.intake.domain.fields import MAX_ATTACHMENT_REF, MAX_ATTACHMENTS, MAX_ID, MAX_NAME, MAX_NOTE, MAX_PERSON, MAX_TEXT

if TYPE_CHECKING:
    from collections.abc import Mapping

_ID = Limit(characters=2 * MAX_ID)
_NOTE = Limit(characters=2 * MAX_NOTE, domain_checked=True)
_TEXT = Limit(characters=2 * MAX_TEXT, domain_checked=True)

LIMITS: Mapping[str, Limit] = {
    "SubmitTicketRequest.request_id": _ID,
    "SubmitTicketRequest.text": _TEXT,
    "SubmitTicketRequest.district_code": _ID,
    "Enterprise.uscc": _ID,
    "Enterprise.name": Limit(characters=2 * MAX_NAME, domain_checked=True),
    "Contact.name": Limit(characters=2 * MAX_PERSON, domain_checked=True),
    "Contact.phone": Limit(characters=2 * MAX_PHONE, domain_checked=True),
    "GetTicketRequest.ticket_id": _ID,
    "ListTicketsRequest.uscc": _ID,
    "ListTicketsRequest.states": Limit(items=100),
    "ListTicketsRequest.page_token": PAGE_TOKEN,
    "WatchTicketRequest.ticket_id": _ID,
    "SupplementTicketRequest.ticket_id": _ID,
    "SupplementTicketRequest.request_id": _ID,
    "SupplementTicketRequest.text": _TEXT,
    "SupplementTicketRequest.attachment_refs": Limit(characters=2 * MAX_ATTACHMENT_REF, items=2 * MAX_ATTACHMENTS, domain_checked=True),
    "WithdrawTicketRequest.ticket_id": _ID,
    "WithdrawTicketRequest.reason": _NOTE,
    "RateTicketRequest.ticket_id": _ID,
    "RateTicketRequest.comment": _NOTE,
    "ReopenTicketRequest.ticket_id": _ID,
    "ReopenTicketRequest.reason": _NOTE,
    "GetContactRequest.ticket_id": _ID,
}
