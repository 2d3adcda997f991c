"""The enterprise added material."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.dispatcher.application.early import submitted_or_kept

if TYPE_CHECKING:
    from services.dispatcher.application.ports import Office, UnitOfWork
    from services.dispatcher.domain.commands import DeliverSupplement


def deliver_supplement(office: Office, uow: UnitOfWork, command: DeliverSupplement) -> None:
    """Bring the material to the units that have the ticket, and keep it for those that get it later."""
    dispatch = submitted_or_kept(uow, command)
    if dispatch is not None:
        dispatch.deliver(command.supplement, now=office.clock.now())
