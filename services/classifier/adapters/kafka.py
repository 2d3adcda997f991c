"""The door for tickets: a batch of messages in, their classifications out. Nothing is kept."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from chassis.message import RetryLater
from services.classifier.adapters.events import tells_of_submission, to_command, to_message
from services.classifier.application.classify_tickets import classify_tickets
from services.classifier.domain.errors import NoModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chassis.clock import Clock
    from chassis.message import InMessage, OutMessage
    from services.classifier.application.classify_tickets import ClassifyTicket
    from services.classifier.application.ports import Models
    from services.classifier.domain.events import TicketClassified
    from services.classifier.telemetry import ClassifierMetrics


class TicketHandler:
    """Classifies the tickets that messages tell of."""

    def __init__(
        self,
        models: Models,
        clock: Clock,
        metrics: ClassifierMetrics,
        on_answers: Callable[[Sequence[ClassifyTicket], Sequence[TicketClassified]], None] = lambda _commands, _events: None,
    ) -> None:
        """Wire it; `on_answers` is told what was asked and answered, and must neither wait nor fail."""
        self._models = models
        self._clock = clock
        self._metrics = metrics
        self._on_answers = on_answers

    def __call__(self, messages: Sequence[InMessage]) -> list[OutMessage]:
        """Return the classifications of the submitted tickets among `messages`; others are left out.

        Raises:
            InvalidMessage: One can never be understood.
            RetryLater: No model is loaded yet.
        """
        submissions = [message for message in messages if tells_of_submission(message)]
        if not submissions:
            return []
        commands = [to_command(message) for message in submissions]
        started = time.perf_counter()
        try:
            events = classify_tickets(self._models, self._clock, commands)
        except NoModelError as error:
            raise RetryLater("no model is loaded yet") from error
        self._metrics.count([event.classification for event in events], time.perf_counter() - started)
        self._on_answers(commands, events)
        return [to_message(event, message.traceparent) for event, message in zip(events, submissions, strict=True)]
