"""A unit's request by RPC has its effect once for each id, as its receipts have."""

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
    """Carry out a request, unless it was carried out before under this id; returns the dispatch as it is then.

    A request that was refused is judged again.

    Args:
        office: What every use case works with.
        uow: The transaction.
        command: The request.
        key: The unit with the id.
        request_id: The id as the unit chose it.

    Raises:
        RequestIdReused: A different request came under this id.
        DispatcherError: It is refused and changed nothing.
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
    """Keep the id of a request that was refused, so that another request under it is noticed."""
    uow.requests.claim(key, KnownRequest(fingerprint(command), refused=True))
