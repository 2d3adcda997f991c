"""Phone numbers as people send them, in one form that a person can dial.

`电话：０２３－６７００１２３４ 分机８０５、+86 138 0000 1111` becomes `023-67001234转805/+86 138 0000 1111`. The digits of the result are
the digits that were sent, but for the number of a label (`手机2：`): none is added, dropped or moved.
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

_LEAST_DIGITS_APART = 7
"""Digits from which a group between blanks can be a number of its own."""

_ENDS = " \n\r\x0b\x0c\x85\u2028\u2029\"'“”‘’"
_VARIATION_SELECTORS = frozenset("\ufe0e\ufe0f")
_PLAIN = FULL_WIDTH | str.maketrans(
    {
        **dict.fromkeys("－﹣−–—‐‑‒―﹘.．·・", "-"),
        **dict.fromkeys("（［【〔[", "("),
        **dict.fromkeys("）］】〕]", ")"),
        **dict.fromkeys("／、，,；;。｜|", "/"),
        "﹢": "+",
    }
)
_LABEL = re.compile(
    r"(?:(?:(?:联系人?|联络|办公室?|移动|固定|单位|公司|企业|本人|个人|负责人|经办人|值班|服务|咨询|客服)?"
    r"(?:[电電][话話]|手[机機]|座机|固话|热线|熱線)(?:号码|號碼|号)?"
    r"|联系方式|号码|总机|telephone|tel|phone|mobile|[tmp](?= *[:-])|[☎☏📞📱])"
    r"(?:[1-9一二三](?= *:))?[ :-]*)+",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[( ]*\+?[0-9][0-9() -]*")
_EXTENSION = re.compile(
    r"[/ ]*\(?(?:总机)?(?:转分机|转|轉|分机号|分机|分機|内线|extension|extn|ext|x|#)[ :=-]*"
    r"([0-9]{1,6}(?: *(?:/|或者?|和|及) *[0-9]{1,4}(?! *[0-9(-]))*)(?:号|分机)?[ )]*",
    re.IGNORECASE,
)
_REMARK = re.compile(r"[ (]*(?:微信同号|同微信号?)[ )]*")
_EXTENSIONS_APART = re.compile(r"[^0-9]+")
_SEPARATOR = re.compile(r"[ ]*(?:/|或者|或|和|及|or)[/ ]*", re.IGNORECASE)


class InvalidPhone(ValueError):
    """The text is not a phone number. The message is for people; it names the error and its position."""


def normalise_phone(value: str) -> str:
    """Return one or several phone numbers in normal form.

    Invisible marks and labels are dropped. Full-width forms, dashes and brackets become ASCII. Grouping is kept. An extension follows its
    number as `转805`; numbers, and several extensions of one number, are joined by `/`.

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
            end, suffix = extension.end(), f"转{_EXTENSIONS_APART.sub('/', extension.group(1))}"
        end = _skip(_REMARK, text, end)
        separator = _SEPARATOR.match(text, end)
        if separator is None and end < len(text) and not _begins_number(text, end):
            raise InvalidPhone(_unexpected(value, places, end))
        *others, last = _apart(found.group())
        numbers += [_checked(each, places[at]) for each in others]
        numbers.append(_checked(last, places[at]) + suffix)
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


def _begins_number(text: str, at: int) -> bool:
    """Return whether a number begins without a separator before it: with a label, or with a plus sign after a blank."""
    return _LABEL.match(text, at) is not None or text[at - 1 : at + 1] == " +"


def _apart(body: str) -> list[str]:
    """Return the numbers in a text that only blanks part, if it is too long for one number; else the text itself."""
    if _digits(body) <= MOST_DIGITS:
        return [body]
    groups = body.split()
    return groups if all(_digits(group) >= _LEAST_DIGITS_APART for group in groups) else [body]


def _digits(text: str) -> int:
    return sum(character.isdigit() for character in text)


def _checked(body: str, place: int) -> str:
    """Return one number with single blanks and paired brackets.

    Raises:
        InvalidPhone: It has too few or too many digits.
    """
    digits = _digits(body)
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
