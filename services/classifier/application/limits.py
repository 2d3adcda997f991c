"""Bounds of what may be asked for at once."""

from __future__ import annotations

from services.classifier.domain.errors import InvalidFieldError
from services.classifier.domain.text import MAX_CHARACTERS

MAX_CLASSES = 43
MAX_TEXTS = 256
USUAL_CLASSES = 5


def wanted_classes(top_k: int) -> int:
    """Return how many classes to answer with.

    Raises:
        InvalidFieldError: `top_k` is out of range.
    """
    if not 0 <= top_k <= MAX_CLASSES:
        raise InvalidFieldError("top_k", f"is {top_k}, allowed are 0 (the usual {USUAL_CLASSES}) to {MAX_CLASSES}")
    return top_k or USUAL_CLASSES


def check_text(field: str, text: str) -> None:
    """Refuse a text that is too long.

    Raises:
        InvalidFieldError: It is.
    """
    if len(text) > MAX_CHARACTERS:
        raise InvalidFieldError(field, f"has {len(text):,} characters, at most {MAX_CHARACTERS:,} are allowed")
