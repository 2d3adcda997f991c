"""Rows of dispatches, and what they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from sqlalchemy import text

from chassis.stored import known
from services.dispatcher.adapters.stored import ASSIGNMENT, CLASSIFICATION, DECISION, EARLY, EXTENSION, SUPPLEMENTS, TRIAGE
from services.dispatcher.adapters.tables import SCHEMA, dispatch_table, ticket_table
from services.dispatcher.domain.dispatch import Dispatch
from services.dispatcher.domain.values import IN_HAND, State, Ticket

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from services.dispatcher.domain.values import DecisionId, DecisionRecord

log = structlog.get_logger()

T = TypeVar("T")

TICKET_COLUMNS = ", ".join(f"t.{column.name}" for column in ticket_table.columns if column.name != "ticket_id")
DISPATCH_COLUMNS = ", ".join(f"d.{column.name}" for column in dispatch_table.columns)


def dispatch_row(dispatch: Dispatch) -> dict[str, Any]:
    """Return a dispatch as a row of `dispatch`."""
    return {name: encode(value(dispatch)) for name, (value, encode) in _COLUMNS.items()}


def changed_columns(before: Dispatch, now: Dispatch) -> dict[str, Any]:
    """Return the columns that changed, and the primary key."""
    return {
        name: encode(after) for name, (value, encode) in _COLUMNS.items() if (after := value(now)) != value(before) or name == "ticket_id"
    }


def _order_time(dispatch: Dispatch) -> datetime | None:
    if dispatch.assignment is not None:
        return dispatch.assignment.dispatch_time
    return None if dispatch.ticket is None else dispatch.ticket.submit_time


def _plain(value: Any) -> Any:  # noqa: ANN401 - a column's value
    return value


_COLUMNS: Mapping[str, tuple[Callable[[Dispatch], Any], Callable[[Any], Any]]] = {
    "ticket_id": (lambda dispatch: dispatch.ticket_id, _plain),
    "state": (lambda dispatch: dispatch.state.value, _plain),
    "epoch": (lambda dispatch: dispatch.epoch, _plain),
    "cycle": (lambda dispatch: dispatch.cycle, _plain),
    "assignment": (lambda dispatch: dispatch.assignment, ASSIGNMENT.dumps),
    "accepted": (lambda dispatch: dispatch.accepted, _plain),
    "leads": (lambda dispatch: dispatch.leads, list),
    "bounce_count": (lambda dispatch: dispatch.bounce_count, _plain),
    "final": (lambda dispatch: dispatch.final, _plain),
    "triage": (lambda dispatch: dispatch.triage, TRIAGE.dumps),
    "triage_since": (lambda dispatch: dispatch.triage and dispatch.triage.since, _plain),
    "next_action_time": (lambda dispatch: dispatch.next_action_time, _plain),
    "classification": (lambda dispatch: dispatch.classification, CLASSIFICATION.dumps),
    "due_time": (lambda dispatch: dispatch.due_time, _plain),
    "pending_extension": (lambda dispatch: dispatch.pending_extension, EXTENSION.dumps),
    "supplement_question": (lambda dispatch: dispatch.supplement_question, _plain),
    "supplements": (lambda dispatch: dispatch.supplements, SUPPLEMENTS.dumps),
    "resolution": (lambda dispatch: dispatch.resolution, _plain),
    "early": (lambda dispatch: dispatch.early, EARLY.dumps),
    "decision_id": (lambda dispatch: dispatch.decision_id, _plain),
    "order_time": (_order_time, _plain),
}
"""Column → what of a dispatch it holds, and how that is written."""


def dispatch_of(row: Row[Any]) -> Dispatch:
    """Return the dispatch of a row that holds `DISPATCH_COLUMNS` and `TICKET_COLUMNS`."""
    return Dispatch(
        ticket_id=row.ticket_id,
        ticket=_ticket(row),
        state=known(State, row.state),
        epoch=row.epoch,
        cycle=row.cycle,
        assignment=ASSIGNMENT.loads(row.assignment),
        accepted=row.accepted,
        leads=tuple(row.leads),
        bounce_count=row.bounce_count,
        final=row.final,
        triage=TRIAGE.loads(row.triage),
        next_action_time=row.next_action_time,
        classification=CLASSIFICATION.loads(row.classification),
        due_time=row.due_time,
        pending_extension=EXTENSION.loads(row.pending_extension),
        supplement_question=row.supplement_question,
        supplements=SUPPLEMENTS.read(row.supplements),
        resolution=row.resolution,
        early=EARLY.read(row.early),
        decision_id=row.decision_id,
    )


def _ticket(row: Row[Any]) -> Ticket | None:
    if row.number is None:
        return None
    return Ticket(
        ticket_id=row.ticket_id,
        number=row.number,
        uscc=row.uscc,
        enterprise_name=row.enterprise_name,
        request_district=row.request_district,
        enterprise_district=row.enterprise_district,
        text=row.text,
        confidential=row.confidential,
        submit_time=row.submit_time,
    )


def participant_rows(dispatch: Dispatch) -> list[dict[str, Any]]:
    """Return the rows of `participant` of the assignment in force."""
    assignment = dispatch.assignment
    if assignment is None:
        return []
    return [
        {
            "ticket_id": dispatch.ticket_id,
            "unit": unit,
            "order_time": assignment.dispatch_time,
            "open": dispatch.state in IN_HAND,
        }
        for unit in dict.fromkeys(assignment.participants)
    ]


def decisions_of(conn: Connection, ids: Sequence[str]) -> dict[DecisionId, DecisionRecord]:
    """Read decisions by their ids."""
    if not ids:
        return {}
    rows = conn.execute(text(f"SELECT decision_id, record FROM {SCHEMA}.decision_record WHERE decision_id = ANY(:ids)"), {"ids": list(ids)})  # noqa: S608
    decisions = (read_or_skip(row.decision_id, DECISION.read, row.record) for row in rows)
    return {decision.decision_id: decision for decision in decisions if decision is not None}


def read_or_skip(row_id: str, read: Callable[[Any], T], stored: Any) -> T | None:  # noqa: ANN401 - a row or JSON
    """Return the result of `read` for a stored value; log an error and return None if its format cannot be read.

    One such row must not stop the minute timer for all others.
    """
    try:
        return read(stored)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        log.error("stored_row_unreadable", row=row_id, error=type(error).__name__)  # noqa: TRY400 - the text may hold the row
        return None
