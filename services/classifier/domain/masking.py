"""Taking numbers that may identify a person out of a text before it is kept."""

from __future__ import annotations

import re

_LEAST_DIGITS = 7
"""A landline has 7 or 8 digits, a mobile number 11, an identity number 17 or 18, a bank account up to 19."""

_NUMBER = re.compile(
    # Digits, also full-width ones, written together or in groups; the last of an identity number may be an X.
    rf"\d(?:[-－—–_ \u3000()（）]{{0,2}}\d){{{_LEAST_DIGITS - 1},}}[XxＸｘ]?"
    # The same as spoken: 幺三八零零…
    rf"|[零〇○一二两三四五六七八九幺]{{{_LEAST_DIGITS},}}",
)


def masked(text: str) -> str:
    """Return a text with every figure of its long numbers as 0 or 零; every other character stays where it is.

    Phone, identity and account numbers go, and with them long sums: a model that takes a run of digits for one digit loses nothing.
    """
    return _NUMBER.sub(lambda found: "".join(_mask(character) for character in found.group()), text)


def _mask(character: str) -> str:
    if character.isdecimal() or character in "XxＸｘ":
        return "0"
    return "零" if character in "零〇○一二两三四五六七八九幺" else character
