"""Classify the texts of submitted tickets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.classifier.application.answering import answers
from services.classifier.application.limits import USUAL_CLASSES
from services.classifier.domain.events import TicketClassified

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chassis.clock import Clock
    from services.classifier.application.ports import Models


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifyTicket:
    """The command.

    Attributes:
        cause_id: Id of the event that told of the ticket.
        ticket_id: Id of the ticket.
        text: The request in the enterprise's words; of a longer text than may be submitted only the beginning is looked at.
    """

    cause_id: str
    ticket_id: str
    text: str


def classify_tickets(models: Models, clock: Clock, commands: Sequence[ClassifyTicket]) -> list[TicketClassified]:
    """Return an event a ticket, in their order, all by the same model.

    Raises:
        NoModelError: No model is loaded yet.
    """
    classifications = answers(models.current(), [command.text for command in commands], USUAL_CLASSES)
    now = clock.now()
    return [
        TicketClassified(cause_id=command.cause_id, ticket_id=command.ticket_id, classification=classification, classify_time=now)
        for command, classification in zip(commands, classifications, strict=True)
    ]
