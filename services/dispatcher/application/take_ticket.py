"""A request was stored by intake: its minute runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.dispatcher.application.deliver_supplement import deliver_supplement
from services.dispatcher.application.note_deadline import note_deadline
from services.dispatcher.application.take_classification import take_classification
from services.dispatcher.application.withdraw_ticket import withdraw_ticket
from services.dispatcher.domain.commands import DeliverSupplement, NoteDeadline, TakeClassification, WithdrawTicket
from services.dispatcher.domain.dispatch import Dispatch

if TYPE_CHECKING:
    from services.dispatcher.application.ports import Office, UnitOfWork
    from services.dispatcher.domain.commands import EarlyNews, TakeTicket


def take_ticket(office: Office, uow: UnitOfWork, command: TakeTicket) -> None:
    """Take a ticket in, then carry out what came before it. A ticket that is known already changes nothing."""
    dispatch = uow.dispatches.get(command.ticket.ticket_id)
    if dispatch is None:
        dispatch = Dispatch(ticket_id=command.ticket.ticket_id)
        uow.dispatches.add(dispatch)
    for early in dispatch.submit(command.ticket, now=office.clock.now(), policy=office.chooser.policy):
        _carry_out(office, uow, early)


def _carry_out(office: Office, uow: UnitOfWork, early: EarlyNews) -> None:
    match early:
        case TakeClassification():
            take_classification(office, uow, early)
        case WithdrawTicket():
            withdraw_ticket(office, uow, early)
        case DeliverSupplement():
            deliver_supplement(office, uow, early)
        case NoteDeadline():
            note_deadline(office, uow, early)
