"""The enterprise took its request back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.dispatcher.application.early import submitted_or_kept

if TYPE_CHECKING:
    from services.dispatcher.application.ports import Office, UnitOfWork
    from services.dispatcher.domain.commands import WithdrawTicket


def withdraw_ticket(office: Office, uow: UnitOfWork, command: WithdrawTicket) -> None:
    """Close the dispatch and tell the units that have the ticket."""
    dispatch = submitted_or_kept(uow, command)
    if dispatch is not None:
        dispatch.withdraw(command.reason, now=office.clock.now())
