"""The desk gives a ticket that waits for it to a unit (人工分拨)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.dispatcher.application.deciding import of_desk, record, today, unit_in_force
from services.dispatcher.domain import wording
from services.dispatcher.domain.errors import InvalidFields
from services.dispatcher.domain.values import ClassCode, DistrictSource, Method

if TYPE_CHECKING:
    from services.dispatcher.application.ports import Office, UnitOfWork
    from services.dispatcher.domain.commands import AssignByDesk
    from services.dispatcher.domain.dispatch import Dispatch
    from services.dispatcher.domain.values import Triage, UnitCode


def assign_by_desk(office: Office, uow: UnitOfWork, command: AssignByDesk) -> Dispatch:
    """Give the ticket to the unit that the desk named. About a bounced ticket that is final.

    Raises:
        DispatchNotFound: There is no such ticket.
        UnknownUnit: A unit is not in force.
        InvalidFields: The class is not in the catalogue.
        StateConflict: The ticket does not wait for the desk.
    """
    lead = unit_in_force(office, command.unit, "assign.unit")
    helpers = dict.fromkeys(unit_in_force(office, unit, "assign.co_handler_units") for unit in command.co_handlers)
    if command.class_code and ClassCode(command.class_code) not in office.chooser.catalogue.classes:
        raise InvalidFields([("assign.class_code", "is not in the catalogue")])
    dispatch = of_desk(uow, command.ticket_id)
    waiting = dispatch.check_triage()
    class_code = ClassCode(command.class_code) if command.class_code else _class_that_speaks_for(waiting, lead)
    choice = office.chooser.redirect(
        lead,
        day=today(office),
        class_code=class_code,
        class_probability=_probability(waiting, class_code),
        district=waiting.district,
        source=DistrictSource.DESK,
        explanation=wording.triaged(office.chooser.catalogue, lead, final=dispatch.is_for_arbiter),
        candidates=waiting.candidates,
        co_handlers=tuple(unit for unit in helpers if unit != lead),
    )
    dispatch.assign_by_desk(record(office, dispatch, choice, Method.TRIAGE, by=command.desk), note=command.note)
    return dispatch


def _class_that_speaks_for(waiting: Triage, lead: UnitCode) -> ClassCode | None:
    return next((candidate.class_code for candidate in waiting.candidates if candidate.unit == lead), None)


def _probability(waiting: Triage, class_code: ClassCode | None) -> float:
    return next((candidate.class_probability for candidate in waiting.candidates if candidate.class_code == class_code), 0.0)
