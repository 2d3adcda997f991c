"""A model in the shadow: it answers what the model that serves has answered, afterwards and apart from it, and never answers anybody.

hot path ─► offer (never waits) ─► tick, a thread of its own ─► counted; where they disagree logged and kept, without the text
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import structlog

from chassis.transient import is_transient
from services.classifier.application.answering import answers
from services.classifier.domain.errors import ModelDamagedError, NoModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.classifier.adapters.model_store import ModelSlot
    from services.classifier.adapters.sql import SqlShadowRecord
    from services.classifier.application.classify_tickets import ClassifyTicket
    from services.classifier.domain.classification import Classification
    from services.classifier.domain.events import TicketClassified
    from services.classifier.telemetry import ClassifierMetrics

log = structlog.get_logger()

_MOST_WAITING = 2000
_AT_ONCE = 16
"""So few that the hot path, which shares the processor, hardly waits for it."""


class Shadow:
    """Compares a second model with the one that serves."""

    def __init__(self, slot: ModelSlot, record: SqlShadowRecord, metrics: ClassifierMetrics) -> None:
        self._slot = slot
        self._record = record
        self._metrics = metrics
        self._waiting: deque[tuple[ClassifyTicket, TicketClassified]] = deque()
        self._complaint: str | None = None

    def offer(self, commands: Sequence[ClassifyTicket], events: Sequence[TicketClassified]) -> None:
        """Take what was answered, as far as there is room; never waits and never fails."""
        room = max(_MOST_WAITING - len(self._waiting), 0)
        self._waiting.extend(list(zip(commands, events, strict=True))[:room])
        self._metrics.count_shadow("skipped", max(len(commands) - room, 0))

    def follow(self) -> int:
        """Take up the model that is in the folder; one that is missing or damaged is told once."""
        try:
            if self._slot.follow():
                self._complaint = None
                log.info("shadow_model_loaded", version=self._slot.current().release.version)
        except (NoModelError, ModelDamagedError) as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                log.warning("shadow_model_not_loaded", problem=str(error) or "there is no model in the folder")
        return 0

    def tick(self) -> int:
        """Look at some of what waits; returns how many. Whatever goes wrong is logged: nothing here may end the process."""
        some = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
        if not some:
            return 0
        try:
            self._compare(some)
        except NoModelError:
            self._metrics.count_shadow("skipped", len(some))
        except Exception:  # whatever it is: a faulty model in the shadow must not end the one that answers
            log.exception("shadow_failed")
            self._metrics.count_shadow("skipped", len(some))
        return len(some)

    def _compare(self, some: Sequence[tuple[ClassifyTicket, TicketClassified]]) -> None:
        given = answers(self._slot.current(), [command.text for command, _ in some], 1)
        disagreements = [
            _row(event, challenger)
            for (_, event), challenger in zip(some, given, strict=True)
            if event.classification.classes[0].code != challenger.classes[0].code
        ]
        self._metrics.count_shadow("agreed", len(some) - len(disagreements))
        self._metrics.count_shadow("disagreed", len(disagreements))
        for row in disagreements:
            log.info("shadow_disagreed", **{**row, "classify_time": str(row["classify_time"])})
        try:
            self._record.add(disagreements)
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("shadow_not_recorded", disagreements=len(disagreements), error=type(error).__name__)


def _row(event: TicketClassified, challenger: Classification) -> dict[str, object]:
    champion = event.classification
    return {
        "ticket_id": event.ticket_id,
        "champion_version": champion.model_version,
        "challenger_version": challenger.model_version,
        "champion_class": champion.classes[0].code,
        "champion_probability": champion.classes[0].probability,
        "challenger_class": challenger.classes[0].code,
        "challenger_probability": challenger.classes[0].probability,
        "classify_time": event.classify_time,
    }
