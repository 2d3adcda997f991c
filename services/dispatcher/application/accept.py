"""A unit signs for a ticket (签收)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.dispatcher.application.deciding import of_lead

if TYPE_CHECKING:
    from services.dispatcher.application.ports import Office, UnitOfWork
    from services.dispatcher.domain.commands import Accept
    from services.dispatcher.domain.dispatch import Dispatch


def accept(office: Office, uow: UnitOfWork, command: Accept) -> Dispatch:
    """Sign for the ticket; signing twice changes nothing.

    Raises:
        DispatcherError: Not the lead, not this epoch, or closed.
    """
    dispatch = of_lead(uow, command)
    dispatch.accept(command.unit, command.epoch, now=office.clock.now())
    return dispatch
