"""Limits of the SLA service's requests, as sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chassis.request_limits import PAGE_TOKEN, Limit
from services.sla.application.compute_deadline import MOST_PAUSES

if TYPE_CHECKING:
    from collections.abc import Mapping

_ID = Limit(characters=64)
_DATE = Limit(characters=64)

LIMITS: Mapping[str, Limit] = {
    "GetDeadlinesRequest.ticket_id": _ID,
    "ListDueRequest.unit": _ID,
    "ListDueRequest.page_token": PAGE_TOKEN,
    # Twice the limit of the use case, which names all violations at once.
    "ComputeDeadlineRequest.pauses": Limit(items=2 * MOST_PAUSES),
    "GetCalendarRequest.from_date": _DATE,
    "GetCalendarRequest.until_date": _DATE,
}
