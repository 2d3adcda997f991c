"""What the classifier tells the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from services.classifier.domain.classification import Classification


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketClassified:
    """A ticket's text was classified.

    Attributes:
        cause_id: Id of the event that told of the ticket.
        ticket_id: Id of the ticket.
        classification: The answer.
        classify_time: When.
    """

    cause_id: str
    ticket_id: str
    classification: Classification
    classify_time: datetime
