"""One table: error of this service → refusal, for RPCs and receipts alike."""

from __future__ import annotations

from chassis.page import InvalidPageToken
from chassis.refusal import Refusal, RefusalKind, Violation
from services.dispatcher.domain.errors import (
    DecisionIsFinal,
    DispatchNotFound,
    InvalidFields,
    NoPendingExtension,
    NotLeadUnit,
    PastDue,
    RequestIdReused,
    StaleEpoch,
    StateConflict,
    UnknownUnit,
)

DOMAIN = "dispatcher.paidan"


def translate(error: Exception) -> Refusal | None:  # noqa: C901, PLR0911 - one line a row of the table
    """Return the refusal of an error of this service; None if it is not one."""
    match error:
        case InvalidFields(violations=violations):
            return Refusal.of_fields([Violation(field, description) for field, description in violations])
        case UnknownUnit(unit=unit, field=field):
            violation = Violation(field, f"no unit {unit!r} is in force")
            return _invalid("UNKNOWN_UNIT", f"no unit {unit!r} is in force; see GetCatalogue", violation, unit=unit)
        case RequestIdReused(request_id=request_id):
            message = f"the id {request_id} was used for a different request; choose a new one for each request"
            return Refusal(RefusalKind.ALREADY_EXISTS, "REQUEST_ID_REUSED", message, metadata={"request_id": request_id})
        case InvalidPageToken():
            violation = Violation("page_token", "not given out by this list with these filters")
            return _invalid("INVALID_PAGE_TOKEN", "page_token belongs to another list; start again without it", violation)
        case DispatchNotFound(ticket_id=ticket_id):
            return Refusal(RefusalKind.NOT_FOUND, "DISPATCH_NOT_FOUND", f"no dispatch of a ticket {ticket_id!r} of yours")
        case StaleEpoch(active_epoch=epoch):
            message = f"the ticket's active epoch is {epoch}; read the latest order and act on that, if it is still yours"
            return _conflict("STALE_EPOCH", message, active_epoch=str(epoch))
        case StateConflict(state=state):
            return _conflict("STATE_CONFLICT", f"not possible while the dispatch is {state}", state=state.value)
        case NotLeadUnit(lead=lead):
            return Refusal(RefusalKind.FORBIDDEN, "NOT_LEAD_UNIT", f"your unit helps with this ticket; {lead} leads it")
        case DecisionIsFinal():
            return _conflict("DECISION_IS_FINAL", "the arbiter decided that this ticket is yours; it cannot be returned")
        case PastDue(due_time=due_time):
            message = f"it was due at {due_time.isoformat()}; no extension can be granted after that"
            return _conflict("PAST_DUE", message, due_time=due_time.isoformat())
        case NoPendingExtension():
            return _conflict("NO_PENDING_EXTENSION", "the unit did not ask for an extension, or it was decided already")
    return None


def _invalid(reason: str, message: str, *violations: Violation, **metadata: str) -> Refusal:
    return Refusal(RefusalKind.INVALID, reason, message, metadata=metadata, violations=violations)


def _conflict(reason: str, message: str, **metadata: str) -> Refusal:
    return Refusal(RefusalKind.CONFLICT, reason, message, metadata=metadata)
