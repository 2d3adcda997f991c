"""Text as people type it, made uniform character by character.

Every step keeps the length: position n of the result stands for position n of the original, so spans need no mapping.
"""

from __future__ import annotations

import unicodedata

from services.classifier.domain.traditional import SIMPLIFIED_OF

MAX_CHARACTERS = 5_000
"""Characters that are looked at; the rest of a longer text is not."""

IGNORED = "\0"
"""Stands for a character that says nothing and separates nothing: control, format, unassigned, private use, half a surrogate pair."""

_LAST_CODE_POINT_OF_BMP = 0xFFFF


def canonical(character: str) -> str:
    """Return the character that stands for `character` in normalised text: always exactly one.

    Compatibility forms (full-width letters and digits, circled digits) become plain ones (NFKC, Unicode Annex 15) where that is one
    character, capitals become small, traditional characters simplified, white space a blank, and what is not text `IGNORED`.
    """
    if character.isspace():
        return " "
    if unicodedata.category(character).startswith("C"):
        return IGNORED
    composed = unicodedata.normalize("NFKC", character)
    lowered = (composed if len(composed) == 1 else character).lower()
    single = lowered if len(lowered) == 1 else character
    return " " if single.isspace() else SIMPLIFIED_OF.get(single, single)


class _Canonical(dict[int, str]):
    """Table for `str.translate` that fills itself; characters beyond the BMP are worked out each time, which bounds it."""

    def __missing__(self, code_point: int) -> str:
        single = canonical(chr(code_point))
        if code_point <= _LAST_CODE_POINT_OF_BMP:
            self[code_point] = single
        return single


_TABLE = _Canonical()


def normalise(text: str) -> str:
    """Return the first `MAX_CHARACTERS` of `text` in uniform characters, each at its old position."""
    return text[:MAX_CHARACTERS].translate(_TABLE)
