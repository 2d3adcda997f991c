"""Phone numbers as people send them, in one form that a person can dial.

`电话：０２３－６７００１２３４ 分机８０５、+86 138 0000 1111` becomes `023-67001234转805/+86 138 0000 1111`. The digits of the result are
the digits that were sent: none is added, removed or moved.
"""

from __future__ import annotations

import re
import unicodedata

from kernel.text import FULL_WIDTH, character_at, is_invisible

MAX_SENT = 200
"""Longest entry as sent, in characters."""
MAX_STORED = 100
"""Longest entry in normal form, in characters."""
LEAST_DIGITS = 5
MOST_DIGITS = 20
"""Digits of one number: a short service number such as 12345, up to 15 digits of E.164 with an international prefix and an extension."""

_ENDS = " \n\r\x0b\x0c\x85\u2028\u2029"
_VARIATION_SELECTORS = frozenset("\ufe0e\ufe0f")
_PLAIN = FULL_WIDTH | str.maketrans(
    {
        **dict.fromkeys("－﹣−–—‐‑‒―﹘.．·・", "-"),
        **dict.fromkeys("（［【〔[", "("),
        **dict.fromkeys("）］】〕]", ")"),
        **dict.fromkeys("／、，,；;｜|", "/"),
        "﹢": "+",
    }
)
_LABEL = re.compile(
    r"(?:(?:联系|联络|办公|移动|固定|单位|公司|本人)?(?:[电電][话話]|手[机機]|座机|固话)(?:号码|號碼|号)?"
    r"|联系方式|号码|telephone|tel|phone|mobile|[☎☏📞📱])[ :-]*",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[( ]*\+?[0-9][0-9() -]*")
_EXTENSION = re.compile(r"\(?(?:转分机|转|轉|分机号|分机|分機|内线|extension|ext|x|#)[ :-]*([0-9]{1,6})[ )]*", re.IGNORECASE)
_SEPARATOR = re.compile(r"[ ]*(?:/|或者|或|和|及|or)[/ ]*", re.IGNORECASE)


class InvalidPhone(ValueError):
    """The text is not a phone number. The message is for people; it names the error and its position."""


def normalise_phone(value: str) -> str:
    """Return one or several phone numbers in normal form.

    Invisible marks and labels are dropped. Full-width forms, dashes and brackets become ASCII. Grouping is kept. An extension follows its
    number as `转805`; numbers are joined by `/`.

    Raises:
        InvalidPhone: A number is too short or too long, or the text holds anything else. Positions count the characters of `value`
        from 1.
    """
    if len(value) > MAX_SENT:
        raise InvalidPhone(f"has {len(value)} characters, at most {MAX_SENT} are allowed")
    text, places = _plain(value)
    numbers: list[str] = []
    at = _skip(_SEPARATOR, text, 0)
    while at < len(text) or not numbers:
        at = _skip(_LABEL, text, at)
        found = _NUMBER.match(text, at)
        if found is None:
            raise InvalidPhone(_unexpected(value, places, at))
        end, suffix = found.end(), ""
        extension = _EXTENSION.match(text, end)
        if extension is not None:
            end, suffix = extension.end(), f"转{extension.group(1)}"
        separator = _SEPARATOR.match(text, end)
        if separator is None and end < len(text):
            raise InvalidPhone(_unexpected(value, places, end))
        numbers.append(_checked(found.group(), places[at]) + suffix)
        at = end if separator is None else separator.end()
    normal = "/".join(numbers)
    if len(normal) > MAX_STORED:
        raise InvalidPhone(f"has {len(normal)} characters, at most {MAX_STORED} are allowed")
    return normal


def _plain(value: str) -> tuple[str, list[int]]:
    """Return the text in ASCII where it has an ASCII form, without blanks at its ends, and the place of each character in `value`."""
    kept = [
        (_plain_character(character), place)
        for place, character in enumerate(value)
        if not (is_invisible(character) or character in _VARIATION_SELECTORS)
    ]
    text = "".join(character for character, _ in kept)
    start, end = len(text) - len(text.lstrip(_ENDS)), len(text.rstrip(_ENDS))
    return text[start:end], [place for _, place in kept[start:end]]


def _plain_character(character: str) -> str:
    if character == "\t" or unicodedata.category(character) == "Zs":
        return " "
    return character.translate(_PLAIN)


def _skip(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return at if found is None else found.end()


def _checked(body: str, place: int) -> str:
    """Return one number with single blanks and paired brackets.

    Raises:
        InvalidPhone: It has too few or too many digits.
    """
    digits = sum(character.isdigit() for character in body)
    if not LEAST_DIGITS <= digits <= MOST_DIGITS:
        raise InvalidPhone(
            f"has too {'few' if digits < LEAST_DIGITS else 'many'} digits ({digits}) in the number at position {place + 1}, "
            f"{LEAST_DIGITS}–{MOST_DIGITS} are allowed; separate several numbers by /"
        )
    paired = body if re.fullmatch(r"(?:[^()]|\([^()]*\))*", body) else re.sub(r"[()]", " ", body)
    return re.sub(r" +", " ", re.sub(r"\( *\)", " ", paired)).strip(" -")


def _unexpected(value: str, places: list[int], at: int) -> str:
    if at == len(places):
        return "must not be empty" if not places else "ends where a number is expected"
    return f"holds {character_at(value, places[at])}, where digits are expected; name people and offices elsewhere"
