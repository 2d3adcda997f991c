"""Keeping what comes before the ticket that it speaks of: topics know nothing of each other's order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.dispatcher.domain.dispatch import Dispatch
from services.dispatcher.domain.values import State

if TYPE_CHECKING:
    from services.dispatcher.application.ports import UnitOfWork
    from services.dispatcher.domain.commands import EarlyNews


def submitted_or_kept(uow: UnitOfWork, command: EarlyNews) -> Dispatch | None:
    """Return the dispatch that a command speaks of; if its ticket is not known yet keep the command for later and return None."""
    dispatch = uow.dispatches.get(command.ticket_id)
    if dispatch is None:
        dispatch = Dispatch(ticket_id=command.ticket_id)
        uow.dispatches.add(dispatch)
    if dispatch.state is not State.UNSUBMITTED:
        return dispatch
    dispatch.hear_early(command)
    return None
