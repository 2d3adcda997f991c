"""Checking fields that come from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.text import character_at, check_text, first_unprintable
from services.dispatcher.domain.errors import InvalidFields

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_CODE = 64
"""Characters in a code or id."""


def is_code(value: str) -> bool:
    """Tell whether a text can be a code or an id: printable and neither empty nor too long."""
    return 0 < len(value) <= MAX_CODE and value.isprintable()


class Violations:
    """Collects what is wrong with a command's fields, so that a caller learns of all of it at once."""

    def __init__(self) -> None:
        self._found: list[tuple[str, str]] = []

    def number(self, field: str, value: int, *, least: int, most: int) -> None:
        """Demand that a number lies between two bounds, both allowed."""
        if not least <= value <= most:
            self._found.append((field, f"is {value}; {least} to {most} are allowed"))

    def code(self, field: str, value: str, *, required: bool = False) -> None:
        """Demand that a code or id is short and printable."""
        if required and not value:
            self._found.append((field, "is required"))
        elif len(value) > MAX_CODE:
            self._found.append((field, f"has {len(value)} characters; at most {MAX_CODE} are allowed"))
        elif (index := first_unprintable(value)) is not None:
            self._found.append((field, f"holds {character_at(value, index)}, which cannot be printed"))

    def text(self, field: str, value: str, *, most: int, required: bool = True) -> str:
        """Check free text by the rule of `kernel.text`, and return it cleaned."""
        cleaned, problems = check_text(value, most=most, required=required)
        self._found.extend((field, problem) for problem in problems)
        return cleaned

    def texts(self, field: str, values: Sequence[str], *, most: int, longest: int) -> tuple[str, ...]:
        """Check that a list of texts is short and that none of them is empty or too long; return them cleaned."""
        if len(values) > most:
            self._found.append((field, f"has {len(values)} entries, at most {most} are allowed"))
        return tuple(self.text(f"{field}[{position}]", value, most=longest) for position, value in enumerate(values[:most]))

    def raise_if_any(self) -> None:
        """End the checks.

        Raises:
            InvalidFields: Something is wrong.
        """
        if self._found:
            raise InvalidFields(self._found)
