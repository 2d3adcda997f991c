"""A unit sends a ticket back (退回)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.dispatcher.application.deciding import guesses, of_lead, record, today
from services.dispatcher.domain import wording
from services.dispatcher.domain.errors import InvalidFields, UnknownUnit
from services.dispatcher.domain.values import DUTY_DESK, Choice, DistrictSource, Method

if TYPE_CHECKING:
    from services.dispatcher.application.ports import Office, UnitOfWork
    from services.dispatcher.domain.commands import Return
    from services.dispatcher.domain.dispatch import Dispatch
    from services.dispatcher.domain.values import Assignment, Candidate, TriageReason, UnitCode


def return_ticket(office: Office, uow: UnitOfWork, command: Return) -> Dispatch:
    """Give the ticket to the unit that was suggested, else to the desk; past the bounce budget or in a circle to the arbiter.

    Raises:
        DispatcherError: Not the lead, not this epoch, closed, or an arbiter decided.
        UnknownUnit: The suggested unit is not in force, and no unit succeeded it.
        InvalidFields: The duty desk named nobody to give it to; there is no desk behind it.
    """
    dispatch = of_lead(uow, command)
    assignment = dispatch.check_return(command.unit, command.epoch)
    suggested = office.chooser.unit_meant(command.suggested_unit, today(office)) if command.suggested_unit else None
    if command.suggested_unit and suggested is None:
        raise UnknownUnit(command.suggested_unit, "suggested_unit")
    if command.unit == DUTY_DESK and suggested in {None, DUTY_DESK}:
        raise InvalidFields([("suggested_unit", "the duty desk has to name another unit that is in force")])
    triage = dispatch.after_return(command.unit, suggested, office.chooser.policy)
    if triage is None and suggested is not None:
        choice = _to_suggested(office, assignment, command, suggested)
    else:
        choice = _to_triage(office, assignment, command, triage, guesses(office, uow, dispatch))
    dispatch.give_back(
        record(office, dispatch, choice, Method.SUGGESTION, by=command.unit),
        reason=command.reason,
        suggested=command.suggested_unit,
        note=command.note,
        policy=office.chooser.policy,
    )
    return dispatch


def _to_suggested(office: Office, assignment: Assignment, command: Return, suggested: UnitCode) -> Choice:
    return office.chooser.redirect(
        suggested,
        day=today(office),
        class_code=assignment.class_code,
        class_probability=assignment.class_probability,
        district=assignment.district,
        source=DistrictSource.RETURN,
        explanation=wording.suggested(office.chooser.catalogue, command.unit, command.reason, suggested),
    )


def _to_triage(
    office: Office,
    assignment: Assignment,
    command: Return,
    triage: TriageReason | None,
    candidates: tuple[Candidate, ...],
) -> Choice:
    return Choice(
        lead=None,
        triage_reason=triage,
        class_code=assignment.class_code,
        class_probability=assignment.class_probability,
        district=assignment.district,
        candidates=candidates,
        explanation=wording.returned(office.chooser.catalogue, command.unit, command.reason, triage),
    )
