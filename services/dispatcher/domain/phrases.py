"""Finding known phrases in Chinese text."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

T = TypeVar("T")


def normalise(text: str) -> str:
    """Return a text in the form that phrases are compared in: full-width letters and digits narrowed (NFKC), case folded."""
    return unicodedata.normalize("NFKC", text).casefold()


class Phrases(Generic[T]):
    """Phrases with a meaning each. Reads a text once, from the left, taking the longest phrase at each place."""

    def __init__(self, meanings: Mapping[str, T]) -> None:
        by_first: dict[str, list[tuple[str, T]]] = {}
        for phrase, meaning in meanings.items():
            by_first.setdefault(normalise(phrase)[0], []).append((normalise(phrase), meaning))
        self._by_first = {first: sorted(phrases, key=lambda entry: -len(entry[0])) for first, phrases in by_first.items()}

    def find(self, normalised: str) -> Iterator[T]:
        """Yield the meanings of the phrases in a normalised text, in their order; a phrase inside a longer one does not count."""
        position = 0
        while position < len(normalised):
            for phrase, meaning in self._by_first.get(normalised[position], ()):
                if normalised.startswith(phrase, position):
                    yield meaning
                    position += len(phrase)
                    break
            else:
                position += 1
