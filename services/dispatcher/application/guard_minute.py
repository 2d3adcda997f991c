"""The guard of the minute: what the classifier or the desk did not decide in time goes down the ladder.

classifier ──15 s──► keyword rules ──undecided──► desk ──40 s──► duty desk
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.dispatcher.application.deciding import record, today
from services.dispatcher.domain import wording
from services.dispatcher.domain.values import DUTY_DESK, DistrictSource, Method, State

if TYPE_CHECKING:
    from collections.abc import Collection

    from services.dispatcher.application.ports import Office, UnitOfWork
    from services.dispatcher.domain.dispatch import Dispatch
    from services.dispatcher.domain.values import Choice, Ticket, TicketId, Triage


def guard_minute(
    office: Office,
    uow: UnitOfWork,
    size: int,
    *,
    without: Collection[TicketId] = (),
    only: TicketId | None = None,
) -> int:
    """Act on up to `size` due tickets; return how many there were.

    Tickets in `without` are omitted. With `only`, the use case acts on that ticket alone, if it is due.
    """
    due = uow.dispatches.due(office.clock.now(), size, without=without, only=only)
    for dispatch in due:
        if dispatch.state is State.PENDING and dispatch.ticket is not None:
            _go_by_rules(office, uow, dispatch, dispatch.ticket)
        elif dispatch.triage is not None:
            _fall_back(office, dispatch, dispatch.triage)
    return len(due)


def _go_by_rules(office: Office, uow: UnitOfWork, dispatch: Dispatch, ticket: Ticket) -> None:
    choice = office.chooser.by_rules(ticket, uow.experience())
    dispatch.decide(record(office, dispatch, choice, Method.RULES), policy=office.chooser.policy)


def _fall_back(office: Office, dispatch: Dispatch, waiting: Triage) -> None:
    dispatch.fall_back(record(office, dispatch, _duty_desk(office, waiting), Method.FALLBACK))


def _duty_desk(office: Office, waiting: Triage) -> Choice:
    return office.chooser.redirect(
        DUTY_DESK,
        day=today(office),
        class_code=None,
        class_probability=0.0,
        district=waiting.district,
        source=DistrictSource.NONE,
        explanation=wording.fell_back(office.chooser.catalogue, DUTY_DESK),
        candidates=waiting.candidates,
    )
