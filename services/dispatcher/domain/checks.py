"""Checking fields that come from outside."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from services.dispatcher.domain.errors import InvalidFields

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_CODE = 64
"""Characters in a code or id."""

# Control characters but tabs and line breaks, characters that turn the direction of writing, and halves of surrogate pairs.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


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
        elif not value.isprintable():
            self._found.append((field, "holds a character that cannot be printed"))

    def text(self, field: str, value: str, *, most: int, least: int = 0) -> None:
        """Demand that a text is neither too short nor too long and holds no control characters but tabs and line breaks."""
        if len(value.strip()) < least:
            self._found.append((field, "is required"))
        elif len(value) > most:
            self._found.append((field, f"has {len(value)} characters; at most {most} are allowed"))
        elif _FORBIDDEN.search(value):
            self._found.append((field, "holds a control character; only tabs and line breaks are allowed"))

    def texts(self, field: str, values: Sequence[str], *, most: int, longest: int) -> None:
        """Demand that a list of texts is short and that none of them is empty or too long."""
        if len(values) > most:
            self._found.append((field, f"has {len(values)} entries; at most {most} are allowed"))
            return
        for position, value in enumerate(values):
            self.text(f"{field}[{position}]", value, least=1, most=longest)

    def raise_if_any(self) -> None:
        """End the checks.

        Raises:
            InvalidFields: Something is wrong.
        """
        if self._found:
            raise InvalidFields(self._found)
