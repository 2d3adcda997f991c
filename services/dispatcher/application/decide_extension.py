"""The desk grants or refuses an extension."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.dispatcher.application.deciding import of_desk

if TYPE_CHECKING:
    from services.dispatcher.application.ports import Office, UnitOfWork
    from services.dispatcher.domain.commands import DecideExtension
    from services.dispatcher.domain.dispatch import Dispatch


def decide_extension(office: Office, uow: UnitOfWork, command: DecideExtension) -> Dispatch:
    """Tell the unit, and the SLA service, which moves the due time.

    Raises:
        DispatchNotFound: There is no such ticket.
        NoPendingExtension: None was asked for.
        PastDue: It would be granted after the due time.
        StateConflict: No unit works on it.
    """
    dispatch = of_desk(uow, command.ticket_id)
    dispatch.settle_extension(granted=command.granted, workdays=command.workdays, note=command.note, now=office.clock.now())
    return dispatch
