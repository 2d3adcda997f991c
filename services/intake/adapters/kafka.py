"""Topics in: what the dispatcher and the SLA service tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chassis import trace
from chassis.message import InvalidMessage
from services.intake.adapters.events import DISPATCHER_TOPIC, READING, SLA_TOPIC
from services.intake.application.follow_dispatch import UnknownTicket, follow_dispatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chassis.message import InMessage
    from services.intake.adapters.sql import IntakeUnitOfWork

TOPICS = (DISPATCHER_TOPIC, SLA_TOPIC)
GROUP = "paidan-intake"


def handle_messages(uow: IntakeUnitOfWork, messages: Sequence[InMessage]) -> None:
    """Apply messages to their tickets.

    Raises:
        InvalidMessage: One cannot be read, or tells of a ticket that intake never stored.
    """
    facts = [(message, fact) for message in messages if (fact := READING.decode(message)) is not None]
    uow.tickets.lock_many([fact.ticket_id for _, fact in facts])
    for message, fact in facts:
        with trace.continue_from(message.traceparent):
            try:
                follow_dispatch(uow, fact)
            except UnknownTicket as error:
                raise InvalidMessage("UNKNOWN_TICKET", f"no ticket {fact.ticket_id}") from error
