"""A unit asks the enterprise for material (补充材料)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.dispatcher.application.deciding import of_lead

if TYPE_CHECKING:
    from services.dispatcher.application.ports import Office, UnitOfWork
    from services.dispatcher.domain.commands import RequestSupplement
    from services.dispatcher.domain.dispatch import Dispatch


def request_supplement(office: Office, uow: UnitOfWork, command: RequestSupplement) -> Dispatch:
    """Ask the enterprise; the resolution clock pauses.

    Raises:
        DispatcherError: Not the lead, not this epoch, closed, or another question waits for its answer.
    """
    dispatch = of_lead(uow, command)
    dispatch.ask_enterprise(command.unit, command.epoch, command.question, now=office.clock.now())
    return dispatch
