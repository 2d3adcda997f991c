"""Classify many texts at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.classifier.application.answering import answers
from services.classifier.application.limits import MAX_TEXTS, check_text, wanted_classes
from services.classifier.domain.errors import InvalidFieldError

if TYPE_CHECKING:
    from services.classifier.application.ports import Models
    from services.classifier.domain.classification import Classification


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifyBatch:
    """The command.

    Attributes:
        texts: Requests in their enterprises' words.
        top_k: How many classes to return for each; 0 for the usual number.
    """

    texts: tuple[str, ...]
    top_k: int = 0


def classify_batch(models: Models, command: ClassifyBatch) -> list[Classification]:
    """Return an answer a text, in their order, all by the same model.

    Raises:
        InvalidFieldError: There are no texts or too many, one is too long, or `top_k` is out of range.
        NoModelError: No model is loaded yet.
    """
    top_k = wanted_classes(command.top_k)
    if not 1 <= len(command.texts) <= MAX_TEXTS:
        raise InvalidFieldError("texts", f"are {len(command.texts)}, allowed are 1 to {MAX_TEXTS}")
    for index, text in enumerate(command.texts):
        check_text(f"texts[{index}]", text)
    return answers(models.current(), command.texts, top_k)
