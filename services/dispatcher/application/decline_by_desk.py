"""The desk declines a ticket that waits for it (不予受理)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.dispatcher.application.deciding import of_desk, record
from services.dispatcher.domain import wording
from services.dispatcher.domain.values import Choice, Method

if TYPE_CHECKING:
    from services.dispatcher.application.ports import Office, UnitOfWork
    from services.dispatcher.domain.commands import DeclineByDesk
    from services.dispatcher.domain.dispatch import Dispatch


def decline_by_desk(office: Office, uow: UnitOfWork, command: DeclineByDesk) -> Dispatch:
    """Close the dispatch and say where the enterprise should turn instead.

    Raises:
        DispatchNotFound: There is no such ticket.
        StateConflict: It does not wait for the desk.
    """
    dispatch = of_desk(uow, command.ticket_id)
    waiting = dispatch.check_triage()
    choice = Choice(
        lead=None,
        triage_reason=waiting.reason,
        district=waiting.district,
        candidates=waiting.candidates,
        explanation=wording.declined(),
    )
    decision = record(office, dispatch, choice, Method.TRIAGE, by=command.desk)
    dispatch.decline(decision, reason=command.reason, right_channel=command.right_channel)
    return dispatch
