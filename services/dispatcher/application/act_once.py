"""Executes a unit's RPC request at most once per request id, as receipts are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.dispatcher.application.carry_out import act
from services.dispatcher.application.deciding import of_lead
from services.dispatcher.application.ports import KnownRequest
from services.dispatcher.domain.commands import fingerprint
from services.dispatcher.domain.errors import RequestIdReused

if TYPE_CHECKING:
    from services.dispatcher.application.ports import Office, UnitOfWork
    from services.dispatcher.domain.commands import UnitCommand
    from services.dispatcher.domain.dispatch import Dispatch


def act_once(office: Office, uow: UnitOfWork, command: UnitCommand, *, key: str, request_id: str) -> Dispatch:
    """Execute a request, unless this id was executed before; return the current dispatch.

    A request that was refused is evaluated again.

    Args:
        office: Dependencies of every use case.
        uow: The transaction.
        command: The request.
        key: Inbox id of the unit's request.
        request_id: Request id that the unit chose.

    Raises:
        RequestIdReused: The id was used for a different request.
        DispatcherError: The request is refused and changed nothing.
    """
    request = KnownRequest(fingerprint(command), refused=False)
    known = uow.requests.claim(key, request)
    if known is not None and not known.is_same(request.fingerprint):
        raise RequestIdReused(request_id)
    if known is not None and not known.refused:
        return of_lead(uow, command)
    uow.requests.note({key: request})
    return act(office, uow, command)


def remember_refusal(uow: UnitOfWork, command: UnitCommand, *, key: str) -> None:
    """Store the id of a refused request, so that a different request with this id is detected."""
    uow.requests.claim(key, KnownRequest(fingerprint(command), refused=True))
