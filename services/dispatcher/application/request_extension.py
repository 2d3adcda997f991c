"""A unit asks the desk for more time (延期)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.dispatcher.application.deciding import of_lead
from services.dispatcher.domain.values import Extension

if TYPE_CHECKING:
    from services.dispatcher.application.ports import Office, UnitOfWork
    from services.dispatcher.domain.commands import RequestExtension
    from services.dispatcher.domain.dispatch import Dispatch


def request_extension(office: Office, uow: UnitOfWork, command: RequestExtension) -> Dispatch:
    """Ask for more time; a later wish replaces an undecided one.

    Raises:
        DispatcherError: Not the lead, not this epoch, or closed.
    """
    dispatch = of_lead(uow, command)
    wish = Extension(workdays=command.workdays, reason=command.reason, request_time=office.clock.now())
    dispatch.ask_extension(command.unit, command.epoch, wish)
    return dispatch
