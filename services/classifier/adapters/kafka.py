"""The doors for tickets: a batch of messages in, their classifications out. Nothing is kept.

                                   sure ──────────────────────────────► classifier.classifications.v1
intake.tickets.v1 ─► TicketHandler ┤                                    ▲
                                   abstained ─► classifier.unsure.v1 ─► UnsureHandler ◄─► language model

The second door and its topic are used only if there is a language model. They are apart so that what is sure never waits for what is
asked.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from chassis.message import RetryLater
from services.classifier.adapters.events import passed_on, tells_of_submission, to_command, to_message, to_question
from services.classifier.application.advise_on_tickets import advise_on_tickets
from services.classifier.application.classify_tickets import classify_tickets
from services.classifier.domain.errors import NoModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chassis.clock import Clock
    from chassis.message import InMessage, OutMessage
    from services.classifier.application.classify_tickets import ClassifyTicket
    from services.classifier.application.ports import Adviser, Models
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
        *,
        pass_on_unsure: bool = False,
    ) -> None:
        """Wire it.

        Args:
            models: What answers.
            clock: Tells the time.
            metrics: Where answers are counted.
            on_answers: Told what was asked and answered; must neither wait nor fail.
            pass_on_unsure: Whether tickets on which the model abstains go to the door for advice instead.
        """
        self._models = models
        self._clock = clock
        self._metrics = metrics
        self._on_answers = on_answers
        self._pass_on_unsure = pass_on_unsure

    def __call__(self, messages: Sequence[InMessage]) -> list[OutMessage]:
        """Return what comes of the submitted tickets among `messages`; others are left out.

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
        self._on_answers(commands, events)
        told = [event.classification for event in events if not self._is_passed_on(event)]
        self._metrics.count(told, (time.perf_counter() - started) * len(told) / len(events))
        return [
            passed_on(message) if self._is_passed_on(event) else to_message(event, message.traceparent)
            for event, message in zip(events, submissions, strict=True)
        ]

    def _is_passed_on(self, event: TicketClassified) -> bool:
        return self._pass_on_unsure and event.classification.abstained


class UnsureHandler:
    """Classifies the tickets on which the model abstained, with a language model's advice."""

    def __init__(self, models: Models, clock: Clock, adviser: Adviser, metrics: ClassifierMetrics) -> None:
        self._models = models
        self._clock = clock
        self._adviser = adviser
        self._metrics = metrics

    def __call__(self, messages: Sequence[InMessage]) -> list[OutMessage]:
        """Return the classifications of the tickets.

        Raises:
            InvalidMessage: One can never be understood.
            RetryLater: No model is loaded yet.
        """
        commands = [to_question(message) for message in messages]
        try:
            events = advise_on_tickets(self._models, self._clock, self._adviser, commands)
        except NoModelError as error:
            raise RetryLater("no model is loaded yet") from error
        self._metrics.count_advised([event.classification for event in events])
        return [to_message(event, message.traceparent) for event, message in zip(events, messages, strict=True)]
