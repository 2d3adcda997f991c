"""Limits of the classifier's requests, as sent. They are twice the limits of the use cases, which name each text that is too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chassis.request_limits import Limit
from services.classifier.application.limits import MAX_TEXTS
from services.classifier.domain.text import MAX_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMITS: Mapping[str, Limit] = {
    "ClassifyRequest.text": Limit(characters=2 * MAX_CHARACTERS),
    "ClassifyBatchRequest.texts": Limit(characters=2 * MAX_CHARACTERS, items=2 * MAX_TEXTS),
}
