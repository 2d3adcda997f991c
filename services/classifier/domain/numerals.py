"""Numbers as Chinese texts spell them: 86, 1,200.5, 八十六, 0.8亿, 贰拾万, 三千六."""

from __future__ import annotations

from decimal import Decimal

_DIGITS = {
    character: value
    for value, characters in enumerate(["〇零", "一壹", "二贰两", "三叁", "四肆", "五伍", "六陆", "七柒", "八捌", "九玖"])
    for character in characters
}
_UNITS = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000}
_SECTIONS = {"万": 10_000, "亿": 100_000_000}
_HALF = Decimal("0.5")

DIGIT_CHARACTERS = "".join(_DIGITS)
UNIT_CHARACTERS = "".join(_UNITS)
SECTION_CHARACTERS = "".join(_SECTIONS)


def parse(text: str) -> Decimal | None:
    """Return the number that `text` spells, or None if it spells none.

    Arabic digits may be grouped by commas and followed by 十, 百, 千, 万, 亿. In Chinese digits a last digit after a unit counts the next
    lower unit (三千六 is 3,600), and a last 半 half of the unit before (两万半 is 25,000).
    """
    total = section = Decimal(0)
    digits = ""
    unit = Decimal(1)
    for character in text.replace(",", ""):
        if character in _SECTIONS:
            section += _digits(digits) if digits else Decimal(0)
            if not section and not total:
                return None
            unit = Decimal(_SECTIONS[character])
            total = (total + section) * unit if unit > total > 0 else total + section * unit
            section, digits = Decimal(0), ""
        elif character in _UNITS:
            unit = Decimal(_UNITS[character])
            section += (_digits(digits) if digits else Decimal(1)) * unit
            digits = ""
        elif character == "半":
            section += _HALF * unit if not digits else _digits(digits) + _HALF
            digits = ""
        elif character in "0123456789." or character in _DIGITS or character == "点":
            digits += character
        else:
            return None
    return total + section + _last(digits, unit)


def _last(digits: str, unit: Decimal) -> Decimal:
    """Return what the last digits are worth: a lone Chinese digit right after a unit above ten counts the next lower unit."""
    if not digits:
        return Decimal(0)
    colloquial = unit > 10 and len(digits) == 1 and digits in _DIGITS and digits not in "〇零"  # noqa: PLR2004
    return _digits(digits) * (unit / 10 if colloquial else 1)


def _digits(digits: str) -> Decimal:
    """Return the value of digits without units; of several points only the first counts."""
    arabic = "".join(str(_DIGITS.get(character, ".")) if character not in "0123456789." else character for character in digits)
    whole, _, fraction = arabic.partition(".")
    return Decimal(f"{whole or 0}.{fraction.replace('.', '') or 0}")
