"""A resolved ticket goes back to work (重办)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.dispatcher.application.deciding import guesses, of_desk, record, today
from services.dispatcher.application.note_deadline import note_deadline
from services.dispatcher.domain import wording
from services.dispatcher.domain.commands import NoteDeadline
from services.dispatcher.domain.errors import StateConflict
from services.dispatcher.domain.values import Choice, Method, TriageReason

if TYPE_CHECKING:
    from services.dispatcher.application.ports import Office, UnitOfWork
    from services.dispatcher.domain.commands import ReopenTicket
    from services.dispatcher.domain.dispatch import Dispatch
    from services.dispatcher.domain.values import Assignment


def reopen_ticket(office: Office, uow: UnitOfWork, command: ReopenTicket) -> None:
    """Return the ticket to the unit that resolved it, or to its successor, with a new epoch and a new cycle.

    A repeated reopening changes nothing.

    Raises:
        DispatchNotFound: No such ticket was ever submitted.
        StateConflict: It is not resolved.
    """
    dispatch = of_desk(uow, command.ticket_id)
    if command.reopen_count <= dispatch.cycle:
        return
    if dispatch.assignment is None:
        raise StateConflict(dispatch.state)
    choice = _choice(office, uow, dispatch, dispatch.assignment)
    decision = record(office, dispatch, choice, Method.REOPEN)
    for early in dispatch.reopen(decision, note=command.reason, policy=office.chooser.policy, cycle=command.reopen_count):
        if isinstance(early, NoteDeadline):
            note_deadline(office, uow, early)


def _choice(office: Office, uow: UnitOfWork, dispatch: Dispatch, resolved: Assignment) -> Choice:
    chooser, day = office.chooser, today(office)
    lead = chooser.unit_meant(resolved.lead, day)
    if lead is None:
        return Choice(
            lead=None,
            triage_reason=TriageReason.NOT_IN_CATALOGUE,
            class_code=resolved.class_code,
            class_probability=resolved.class_probability,
            district=resolved.district,
            candidates=guesses(office, uow, dispatch),
            explanation=wording.reopened_without_unit(),
        )
    return chooser.redirect(
        lead,
        day=day,
        class_code=resolved.class_code,
        class_probability=resolved.class_probability,
        district=resolved.district,
        source=resolved.district.source,
        explanation=wording.reopened(chooser.catalogue, lead),
        co_handlers=tuple(unit for unit in resolved.co_handlers if chooser.catalogue.unit(unit, day) is not None and unit != lead),
    )
