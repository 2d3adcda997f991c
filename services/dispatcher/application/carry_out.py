"""One entry for every command, whichever door it comes through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.dispatcher.application.accept import accept
from services.dispatcher.application.assign_by_desk import assign_by_desk
from services.dispatcher.application.decide_extension import decide_extension
from services.dispatcher.application.decline_by_desk import decline_by_desk
from services.dispatcher.application.deliver_supplement import deliver_supplement
from services.dispatcher.application.note_deadline import note_deadline
from services.dispatcher.application.reopen_ticket import reopen_ticket
from services.dispatcher.application.report_progress import report_progress
from services.dispatcher.application.request_extension import request_extension
from services.dispatcher.application.request_supplement import request_supplement
from services.dispatcher.application.resolve import resolve
from services.dispatcher.application.return_ticket import return_ticket
from services.dispatcher.application.take_classification import take_classification
from services.dispatcher.application.take_ticket import take_ticket
from services.dispatcher.application.transfer import transfer
from services.dispatcher.application.withdraw_ticket import withdraw_ticket
from services.dispatcher.domain import commands

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from services.dispatcher.application.ports import Office, UnitOfWork
    from services.dispatcher.domain.commands import DeskCommand, News, UnitCommand
    from services.dispatcher.domain.dispatch import Dispatch

_NEWS: Mapping[type, Callable[[Office, UnitOfWork, Any], None]] = {
    commands.TakeTicket: take_ticket,
    commands.TakeClassification: take_classification,
    commands.WithdrawTicket: withdraw_ticket,
    commands.DeliverSupplement: deliver_supplement,
    commands.ReopenTicket: reopen_ticket,
    commands.NoteDeadline: note_deadline,
}
_ACTIONS: Mapping[type, Callable[[Office, UnitOfWork, Any], Dispatch]] = {
    commands.Accept: accept,
    commands.Return: return_ticket,
    commands.RequestSupplement: request_supplement,
    commands.RequestExtension: request_extension,
    commands.ReportProgress: report_progress,
    commands.Resolve: resolve,
    commands.AssignByDesk: assign_by_desk,
    commands.DeclineByDesk: decline_by_desk,
    commands.Transfer: transfer,
    commands.DecideExtension: decide_extension,
}


def take_news(office: Office, uow: UnitOfWork, news: News) -> None:
    """Carry out what another service tells."""
    _NEWS[type(news)](office, uow, news)


def act(office: Office, uow: UnitOfWork, command: UnitCommand | DeskCommand) -> Dispatch:
    """Carry out what a unit or the desk asks for; returns the dispatch after the change.

    Raises:
        DispatcherError: It is refused and changed nothing.
    """
    return _ACTIONS[type(command)](office, uow, command)
