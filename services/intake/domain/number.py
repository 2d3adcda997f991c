"""Ticket numbers for people: `20261123-500107-000042-K`.

Day of submission in Asia/Shanghai, district (`000000` if none is known), sequence of that day and district, check character by
ISO/IEC 7064 MOD 37,36 over the digits before it: one wrong character is always noticed on
the phone, and two neighbours that changed places nearly always.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.intake.domain.types import DistrictCode, TicketNumber

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

NO_DISTRICT = DistrictCode("000000")

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_MODULUS = len(_ALPHABET)
_PARTS = 4


def make_number(day: date, district: DistrictCode, sequence: int) -> TicketNumber:
    """Return the number of the `sequence`-th ticket of a day and district, from 1."""
    body = f"{day:%Y%m%d}-{district or NO_DISTRICT}-{sequence:06d}"
    return TicketNumber(f"{body}-{_check_character(body)}")


def is_number(text: str) -> bool:
    """Tell whether `text` is a well-formed number whose check character holds."""
    body, _, check = text.rpartition("-")
    return text.count("-") == _PARTS - 1 and set(body) <= set(_ALPHABET) | {"-"} and check == _check_character(body)


def _check_character(body: str) -> str:
    remainder = _MODULUS
    for value in _values(body):
        remainder = (remainder + value) % _MODULUS or _MODULUS
        remainder = remainder * 2 % (_MODULUS + 1)
    return _ALPHABET[(1 - remainder) % _MODULUS]


def _values(body: str) -> Iterable[int]:
    return (_ALPHABET.index(character) for character in body if character != "-")
