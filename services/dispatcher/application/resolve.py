"""A unit says that it is solved (办结)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.dispatcher.application.deciding import of_lead

if TYPE_CHECKING:
    from services.dispatcher.application.ports import Office, UnitOfWork
    from services.dispatcher.domain.commands import Resolve
    from services.dispatcher.domain.dispatch import Dispatch


def resolve(office: Office, uow: UnitOfWork, command: Resolve) -> Dispatch:
    """Close the dispatch; the same resolution again changes nothing.

    Raises:
        DispatcherError: Not the lead, not this epoch, or closed.
    """
    dispatch = of_lead(uow, command)
    dispatch.resolve(command.unit, command.epoch, command.resolution, command.attachment_refs, now=office.clock.now())
    return dispatch
