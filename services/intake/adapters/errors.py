"""One table: error of this service → refusal."""

from __future__ import annotations

from chassis.refusal import Refusal, RefusalKind, Violation
from services.intake.domain.errors import (
    InvalidFields,
    InvalidPageToken,
    NotLeadUnit,
    ReopenWindowOver,
    RequestIdReused,
    StateConflict,
    TicketNotFound,
    VersionAhead,
    WatcherTooSlow,
)

DOMAIN = "intake.paidan"


def translate(error: Exception) -> Refusal | None:  # noqa: PLR0911 - one line a row of the table
    """Return the refusal of an error of this service; None if it is not one."""
    match error:
        case InvalidFields(problems=problems):
            return Refusal.of_fields([Violation(problem.field, problem.description) for problem in problems])
        case RequestIdReused(request_id=request_id):
            message = f"request_id {request_id} was used for a different request; choose a new one for each request"
            return Refusal(RefusalKind.ALREADY_EXISTS, "REQUEST_ID_REUSED", message, metadata={"request_id": request_id})
        case TicketNotFound(reference=reference):
            return Refusal(RefusalKind.NOT_FOUND, "TICKET_NOT_FOUND", f"no ticket {reference} of yours")
        case StateConflict(state=state, allowed=allowed):
            names = ", ".join(allowed)
            message = f"the ticket is {state}; this is possible while it is {names}"
            return Refusal(RefusalKind.CONFLICT, "STATE_CONFLICT", message, metadata={"state": state, "allowed": names})
        case ReopenWindowOver(until=until):
            message = f"it could be reopened until {until.isoformat()}; submit a new request"
            return Refusal(RefusalKind.CONFLICT, "REOPEN_WINDOW_OVER", message, metadata={"until": until.isoformat()})
        case NotLeadUnit():
            return Refusal(RefusalKind.FORBIDDEN, "NOT_LEAD_UNIT", "only the unit that leads the ticket may see the contact")
        case InvalidPageToken():
            message = "page_token belongs to another list; start again without it"
            violation = Violation("page_token", "not given out by this list with these filters")
            return Refusal(RefusalKind.INVALID, "INVALID_PAGE_TOKEN", message, violations=[violation])
        case VersionAhead(present=version):
            message = f"the ticket's version is {version}; watch again with after_version {version} or less"
            return Refusal(RefusalKind.CONFLICT, "VERSION_AHEAD", message, metadata={"present_version": str(version)})
        case WatcherTooSlow(resume_after=version):
            message = f"you did not read in time; watch again with after_version {version}"
            return Refusal(RefusalKind.ABORTED, "WATCHER_TOO_SLOW", message, metadata={"resume_after_version": str(version)})
    return None
