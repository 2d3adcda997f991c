"""Classify tickets on whose texts the model abstained, with a language model's advice where it comes in time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from services.classifier.application.classify_tickets import classify_tickets
from services.classifier.domain.advice import Question, advised, question

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from chassis.clock import Clock
    from services.classifier.application.classify_tickets import ClassifyTicket
    from services.classifier.application.ports import Adviser, Models
    from services.classifier.domain.events import TicketClassified


@dataclass(frozen=True, slots=True, kw_only=True)
class AdviseOnTicket:
    """The command.

    Attributes:
        ticket: The ticket.
        submit_time: When it was submitted: its minute runs since then.
    """

    ticket: ClassifyTicket
    submit_time: datetime


def advise_on_tickets(models: Models, clock: Clock, adviser: Adviser, commands: Sequence[AdviseOnTicket]) -> list[TicketClassified]:
    """Return an event a ticket, in their order; where no advice came, or none was needed, it is the model's own answer.

    Raises:
        NoModelError: No model is loaded yet.
    """
    events = classify_tickets(models, clock, [command.ticket for command in commands])
    questions = {
        position: Question(text, command.submit_time)
        for position, (command, event) in enumerate(zip(commands, events, strict=True))
        if event.classification.abstained and (text := question(command.ticket.text)) is not None
    }
    if not questions:
        return events
    advice = adviser.advise(list(questions.values()), models.current().classes)
    now = clock.now()
    for position, given in zip(questions, advice, strict=True):
        if given is not None:
            answer = advised(events[position].classification, given, adviser.policy)
            events[position] = replace(events[position], classification=answer, classify_time=now)
    return events
