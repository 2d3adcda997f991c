"""The desk moves a ticket to another unit (转办)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.dispatcher.application.deciding import of_desk, record, today, unit_in_force
from services.dispatcher.domain import wording
from services.dispatcher.domain.values import DistrictSource, Method

if TYPE_CHECKING:
    from services.dispatcher.application.ports import Office, UnitOfWork
    from services.dispatcher.domain.commands import Transfer
    from services.dispatcher.domain.dispatch import Dispatch


def transfer(office: Office, uow: UnitOfWork, command: Transfer) -> Dispatch:
    """End the assignment that the desk saw and give the ticket to another unit.

    Raises:
        DispatchNotFound: There is no such ticket.
        UnknownUnit: The unit is not in force.
        InvalidFields: The unit leads already.
        StaleEpoch: The assignment that the desk saw ended since.
        StateConflict: No unit works on it.
    """
    lead = unit_in_force(office, command.unit, "unit")
    dispatch = of_desk(uow, command.ticket_id)
    ending = dispatch.check_transfer(command.epoch, lead)
    choice = office.chooser.redirect(
        lead,
        day=today(office),
        class_code=ending.class_code,
        class_probability=ending.class_probability,
        district=ending.district,
        source=DistrictSource.DESK,
        explanation=wording.transferred(office.chooser.catalogue, ending.lead, lead),
    )
    dispatch.transfer(record(office, dispatch, choice, Method.TRANSFER, by=command.desk), note=command.reason)
    return dispatch
