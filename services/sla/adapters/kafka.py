"""Topics in: what intake and the dispatcher tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from chassis import trace
from services.sla.adapters.events import DISPATCHER_TOPIC, INTAKE_TOPIC, decode
from services.sla.application.cancel_clocks import CancelClocks, cancel_clocks
from services.sla.application.extend_clock import ExtendClock, extend_clock
from services.sla.application.finish_clock import FinishClock, finish_clock
from services.sla.application.pause_clock import PauseClock, pause_clock
from services.sla.application.record_dispatch import RecordDispatch, record_dispatch
from services.sla.application.record_return import RecordReturn, record_return
from services.sla.application.resume_clock import ResumeClock, resume_clock
from services.sla.application.start_clock import StartClock, start_clock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chassis.message import InMessage
    from services.sla.adapters.events import Command
    from services.sla.adapters.sql import SlaUnitOfWork

TOPICS = (INTAKE_TOPIC, DISPATCHER_TOPIC)
GROUP = "paidan-sla"


def handle_messages(uow: SlaUnitOfWork, messages: Sequence[InMessage]) -> None:
    """Take in what messages tell.

    Raises:
        InvalidMessage: One cannot be read.
    """
    told = [(message, command) for message in messages if (command := decode(message)) is not None]
    uow.tickets.lock_many({command.ticket_id for _, command in told})
    for message, command in told:
        with trace.continue_from(message.traceparent):
            _carry_out(uow, command)


def _carry_out(uow: SlaUnitOfWork, command: Command) -> None:
    match command:
        case StartClock():
            start_clock(uow, command)
        case RecordDispatch():
            record_dispatch(uow, command)
        case RecordReturn():
            record_return(uow, command)
        case PauseClock():
            pause_clock(uow, command)
        case ResumeClock():
            resume_clock(uow, command)
        case ExtendClock():
            extend_clock(uow, command)
        case FinishClock():
            finish_clock(uow, command)
        case CancelClocks():
            cancel_clocks(uow, command)
        case _:
            assert_never(command)
