"""One table: error of this service → refusal."""

from __future__ import annotations

from chassis.refusal import Refusal, RefusalKind, Violation
from services.sla.domain.errors import CalendarUnknown, InvalidFields, InvalidPageToken, TicketNotFound

DOMAIN = "sla.paidan"


def translate(error: Exception) -> Refusal | None:
    """Return the refusal of an error of this service; None if it is not one."""
    match error:
        case InvalidFields(problems=problems):
            return Refusal.of_fields([Violation(problem.field, problem.description) for problem in problems])
        case TicketNotFound(ticket_id=ticket_id):
            return Refusal(RefusalKind.NOT_FOUND, "TICKET_NOT_FOUND", f"no deadlines of a ticket {ticket_id} of yours")
        case CalendarUnknown(year=year):
            message = f"the State Council's notice for {year} is not in the calendar; ask again when it is"
            return Refusal(RefusalKind.CONFLICT, "CALENDAR_UNKNOWN", message, metadata={"year": str(year)})
        case InvalidPageToken():
            message = "page_token belongs to another list; start again without it"
            violation = Violation("page_token", "not given out by this list with these filters")
            return Refusal(RefusalKind.INVALID, "INVALID_PAGE_TOKEN", message, violations=[violation])
    return None
