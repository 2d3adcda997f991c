"""Classify one text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.classifier.application.answering import answers
from services.classifier.application.limits import check_text, wanted_classes

if TYPE_CHECKING:
    from services.classifier.application.ports import Models
    from services.classifier.domain.classification import Classification


@dataclass(frozen=True, slots=True, kw_only=True)
class Classify:
    """The command.

    Attributes:
        text: The request in the enterprise's words.
        top_k: How many classes to return; 0 for the usual number.
    """

    text: str
    top_k: int = 0


def classify(models: Models, command: Classify) -> Classification:
    """Return the answer about one text.

    Raises:
        InvalidFieldError: The text is too long, or `top_k` out of range.
        NoModelError: No model is loaded yet.
    """
    top_k = wanted_classes(command.top_k)
    check_text("text", command.text)
    return answers(models.current(), [command.text], top_k)[0]
