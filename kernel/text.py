"""The check of free text: one rule for every field and service, for RPCs, receipts and imports."""

from __future__ import annotations

import re
import unicodedata

_LINE_SEPARATORS = re.compile("[\x0b\x0c\x85\u2028\u2029]")
"""Line breaks of word processors and of other systems (Unicode Standard Annex 14, class BK; NEL)."""

_FORBIDDEN = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, marks that change the direction of writing (Unicode Standard Annex 9), and halves of surrogate pairs."""

_BLANKS = " \t\n\r\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_INVISIBLE = "\u200b\u2060\ufeff"
_DRAWN_AS_NOTHING = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2065\u2800\u3164\ufe0e\ufe0f\uffa0")
"""Characters of other categories than Cf that fonts draw as nothing (Default_Ignorable_Code_Point), and the Braille blank."""

FULL_WIDTH = {0xFF01 + offset: 0x21 + offset for offset in range(94)} | {0x3000: 0x20}
"""Full-width forms of ASCII, and the ideographic blank, to ASCII: a table for `str.translate`."""


def clean_text(value: str) -> str:
    """Return a text with line feeds for line separators, and without blanks and invisible marks at both ends.

    U+000B, U+000C, U+0085, U+2028 and U+2029 become line feeds. Cleaning a clean text changes nothing.
    """
    return _LINE_SEPARATORS.sub("\n", value).strip(_BLANKS + _INVISIBLE)


def check_text(value: str, *, most: int, required: bool = True) -> tuple[str, list[str]]:
    """Clean a text and return it with all violations.

    Args:
        value: Text as sent.
        most: Longest text allowed, in characters (code points) after cleaning.
        required: True if the text must contain a visible character.

    Returns:
        The clean text, and a description of each problem. Positions count the characters of `value` from 1.
    """
    cleaned = clean_text(value)
    problems = []
    if required and not _is_visible(cleaned):
        problems.append("must not be empty")
    if len(cleaned) > most:
        problems.append(f"has {len(cleaned)} characters, at most {most} are allowed")
    forbidden = _FORBIDDEN.search(value)
    if forbidden is not None:
        problems.append(f"holds {character_at(value, forbidden.start())}, which is not allowed")
    return cleaned, problems


def without_invisible(value: str) -> str:
    """Return a number or code without the invisible marks that copied text may contain."""
    return "".join(character for character in value if not is_invisible(character))


def is_invisible(character: str) -> bool:
    """Return whether a character is a format character (Cf): zero-width, joining, or changing the direction of writing."""
    return unicodedata.category(character) == "Cf"


def character_at(value: str, index: int) -> str:
    """Name the character at an index (from 0) for people, by code point and position (from 1)."""
    return f"the character U+{ord(value[index]):04X} at position {index + 1}"


def first_unprintable(value: str) -> int | None:
    """Return the index of the first character that cannot be printed; None if there is none."""
    return next((index for index, character in enumerate(value) if not character.isprintable()), None)


def _is_visible(cleaned: str) -> bool:
    return any(not (character.isspace() or is_invisible(character) or character in _DRAWN_AS_NOTHING) for character in cleaned)
