"""A unit tells how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.dispatcher.application.deciding import of_lead

if TYPE_CHECKING:
    from services.dispatcher.application.ports import Office, UnitOfWork
    from services.dispatcher.domain.commands import ReportProgress
    from services.dispatcher.domain.dispatch import Dispatch


def report_progress(office: Office, uow: UnitOfWork, command: ReportProgress) -> Dispatch:
    """Tell the enterprise.

    Raises:
        DispatcherError: Not the lead, not this epoch, or closed.
    """
    dispatch = of_lead(uow, command)
    dispatch.report(command.unit, command.epoch, command.note, now=office.clock.now())
    return dispatch
