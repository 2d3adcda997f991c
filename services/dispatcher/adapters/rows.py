"""Rows of dispatches, and what they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter
from sqlalchemy import text

from services.dispatcher.adapters.tables import SCHEMA, dispatch_table, ticket_table
from services.dispatcher.domain import commands
from services.dispatcher.domain.dispatch import Dispatch
from services.dispatcher.domain.values import (
    IN_HAND,
    Assignment,
    Classification,
    DecisionId,
    DecisionRecord,
    Extension,
    State,
    Supplement,
    Ticket,
    Triage,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from services.dispatcher.domain.commands import EarlyCommand

_ASSIGNMENT: TypeAdapter[Assignment | None] = TypeAdapter(Assignment | None)
_TRIAGE: TypeAdapter[Triage | None] = TypeAdapter(Triage | None)
_CLASSIFICATION: TypeAdapter[Classification | None] = TypeAdapter(Classification | None)
_EXTENSION: TypeAdapter[Extension | None] = TypeAdapter(Extension | None)
_SUPPLEMENTS: TypeAdapter[tuple[Supplement, ...]] = TypeAdapter(tuple[Supplement, ...])
DECISION: TypeAdapter[DecisionRecord] = TypeAdapter(DecisionRecord)
_EARLY: Mapping[str, TypeAdapter[Any]] = {
    kind.__name__: TypeAdapter(kind)
    for kind in (commands.TakeClassification, commands.WithdrawTicket, commands.DeliverSupplement, commands.NoteDeadline)
}

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


def _as_json(adapter: TypeAdapter[Any]) -> Callable[[object], bytes | None]:
    """Return what encodes a value as JSON, None as NULL."""
    return lambda value: None if value is None else adapter.dump_json(value)


def _early_as_json(early: Iterable[EarlyCommand]) -> list[list[object]]:
    return [[type(command).__name__, _EARLY[type(command).__name__].dump_python(command, mode="json")] for command in early]


def _plain(value: Any) -> Any:  # noqa: ANN401 - a column's value
    return value


_COLUMNS: Mapping[str, tuple[Callable[[Dispatch], Any], Callable[[Any], Any]]] = {
    "ticket_id": (lambda dispatch: dispatch.ticket_id, _plain),
    "state": (lambda dispatch: dispatch.state.value, _plain),
    "epoch": (lambda dispatch: dispatch.epoch, _plain),
    "assignment": (lambda dispatch: dispatch.assignment, _as_json(_ASSIGNMENT)),
    "accepted": (lambda dispatch: dispatch.accepted, _plain),
    "leads": (lambda dispatch: dispatch.leads, list),
    "bounce_count": (lambda dispatch: dispatch.bounce_count, _plain),
    "final": (lambda dispatch: dispatch.final, _plain),
    "triage": (lambda dispatch: dispatch.triage, _as_json(_TRIAGE)),
    "triage_since": (lambda dispatch: dispatch.triage and dispatch.triage.since, _plain),
    "next_action_time": (lambda dispatch: dispatch.next_action_time, _plain),
    "classification": (lambda dispatch: dispatch.classification, _as_json(_CLASSIFICATION)),
    "due_time": (lambda dispatch: dispatch.due_time, _plain),
    "pending_extension": (lambda dispatch: dispatch.pending_extension, _as_json(_EXTENSION)),
    "supplement_question": (lambda dispatch: dispatch.supplement_question, _plain),
    "supplements": (lambda dispatch: dispatch.supplements, _as_json(_SUPPLEMENTS)),
    "resolution": (lambda dispatch: dispatch.resolution, _plain),
    "early": (lambda dispatch: dispatch.early, _early_as_json),
    "decision_id": (lambda dispatch: dispatch.decision_id, _plain),
    "order_time": (_order_time, _plain),
}
"""Column → what of a dispatch it holds, and how that is written."""


def dispatch_of(row: Row[Any]) -> Dispatch:
    """Return the dispatch of a row that holds `DISPATCH_COLUMNS` and `TICKET_COLUMNS`."""
    return Dispatch(
        ticket_id=row.ticket_id,
        ticket=_ticket(row),
        state=State(row.state),
        epoch=row.epoch,
        assignment=_ASSIGNMENT.validate_python(row.assignment),
        accepted=row.accepted,
        leads=tuple(row.leads),
        bounce_count=row.bounce_count,
        final=row.final,
        triage=_TRIAGE.validate_python(row.triage),
        next_action_time=row.next_action_time,
        classification=_CLASSIFICATION.validate_python(row.classification),
        due_time=row.due_time,
        pending_extension=_EXTENSION.validate_python(row.pending_extension),
        supplement_question=row.supplement_question,
        supplements=_SUPPLEMENTS.validate_python(row.supplements),
        resolution=row.resolution,
        early=tuple(_early(kind, value) for kind, value in row.early),
        decision_id=row.decision_id,
    )


def _early(kind: str, value: object) -> EarlyCommand:
    command: EarlyCommand = _EARLY[kind].validate_python(value)
    return command


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
    return {row.decision_id: DECISION.validate_python(row.record) for row in rows}
