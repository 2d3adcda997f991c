"""The unified social credit code (统一社会信用代码).

GB 32100-2015: 18 characters of an alphabet without I, O, S, V, Z. Position 1 is the registering authority, 2 the kind of body, 3–8 the
district, in digits, 9–17 the organisation code with its own check character (GB 11714-1997, MOD 11), 18 the check character (MOD 31).
"""

from __future__ import annotations

from kernel.text import without_invisible
from services.intake.domain.types import Uscc

_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
_WEIGHTS = tuple(pow(3, i, 31) for i in range(17))
_ORGANISATION_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ORGANISATION_VALUES = {character: value for value, character in enumerate(_ORGANISATION_ALPHABET)}
_ORGANISATION_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)
_LENGTH = 18
_DISTRICT = slice(2, 8)


class InvalidUscc(ValueError):
    """The text is no credit code; the message says why, for people."""


def parse_uscc(text: str) -> Uscc:
    """Return the credit code in `text`, in capitals, without blanks around it and without invisible marks.

    Raises:
        InvalidUscc: Wrong length, a character outside the alphabet, or a check character that does not hold.
    """
    code = without_invisible(text).strip().upper()
    if len(code) != _LENGTH:
        raise InvalidUscc(f"has {len(code)} characters, must have {_LENGTH}")
    for position, character in enumerate(code, 1):
        if character not in _VALUES:
            raise InvalidUscc(f"character {position} is {character!r}; digits and capitals without I, O, S, V, Z are allowed")
    for position, character in enumerate(code[_DISTRICT], 3):
        if not character.isdecimal():
            raise InvalidUscc(f"character {position} is {character!r}; a digit is required in the district's code")
    _check("17", organisation_check_character(code[8:16]), code[16])
    _check("18", check_character(code[:17]), code[17])
    return Uscc(code)


def check_character(first_17: str) -> str:
    """Return character 18: (31 − Σ wᵢcᵢ mod 31) mod 31 with wᵢ = 3^(i−1) mod 31 (GB 32100-2015, annex A)."""
    total = sum(weight * _VALUES[character] for weight, character in zip(_WEIGHTS, first_17, strict=True))
    return _ALPHABET[-total % 31]


def organisation_check_character(first_8: str) -> str:
    """Return character 17: 11 − Σ wᵢcᵢ mod 11, with X for 10 and 0 for 11 (GB 11714-1997)."""
    total = sum(weight * _ORGANISATION_VALUES[character] for weight, character in zip(_ORGANISATION_WEIGHTS, first_8, strict=True))
    return "0123456789X"[-total % 11]


def registration_district(uscc: Uscc) -> str:
    """Return positions 3–8: the district of the registering authority, possibly one that has been abolished since."""
    return uscc[_DISTRICT]


def _check(position: str, expected: str, found: str) -> None:
    if expected != found:
        raise InvalidUscc(f"check character {position} is {found}, should be {expected}")
