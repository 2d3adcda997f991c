"""What the fields of a request must look like. Each check returns the cleaned value, or notes a problem and returns it as it came."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kernel.phone import InvalidPhone, normalise_phone
from kernel.text import check_text
from services.intake.domain.errors import FieldProblem, InvalidFields
from services.intake.domain.types import Uscc
from services.intake.domain.uscc import InvalidUscc, parse_uscc

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

MAX_ID = 64
"""Characters in an id, a number or a code."""
MAX_TEXT = 5000
MAX_NAME = 200
MAX_PERSON = 50
MAX_NOTE = 1000
MAX_ATTACHMENTS = 20
MAX_ATTACHMENT_REF = 500
BEST_SCORE = 5

_REQUEST_ID = re.compile(rf"[A-Za-z0-9._:-]{{1,{MAX_ID}}}")
_REFERENCE = re.compile(rf"[A-Za-z0-9-]{{1,{MAX_ID}}}")
_DISTRICT = re.compile(r"[0-9]{6}")


class FieldChecks:
    """Collects every problem of a request, so that the caller learns of all of them at once.

    checks = FieldChecks()
    text = checks.text("text", request.text, most=5000)
    checks.done()
    """

    def __init__(self) -> None:
        self._problems: list[FieldProblem] = []

    def done(self) -> None:
        """End the checks.

        Raises:
            InvalidFields: Something was wrong.
        """
        if self._problems:
            raise InvalidFields(self._problems)

    def note(self, field: str, description: str) -> None:
        """Note a problem."""
        self._problems.append(FieldProblem(field, description))

    def request_id(self, field: str, value: str) -> str:
        """Check an idempotency key."""
        if not _REQUEST_ID.fullmatch(value):
            self.note(field, "1–64 characters of A-Z a-z 0-9 . _ : - are required")
        return value

    def reference(self, field: str, value: str) -> str:
        """Check the form of a ticket's id or number."""
        if not is_reference(value):
            self.note(field, "the id or the number of a ticket is required")
        return value

    def uscc(self, field: str, value: str) -> Uscc:
        """Check a credit code by both of its check characters."""
        try:
            return parse_uscc(value)
        except InvalidUscc as problem:
            self.note(field, str(problem))
            return Uscc(value)

    def text(self, field: str, value: str, *, most: int, required: bool = True) -> str:
        """Check free text by the rule of `kernel.text`, and return it cleaned."""
        cleaned, problems = check_text(value, most=most, required=required)
        for problem in problems:
            self.note(field, problem)
        return cleaned

    def phone(self, field: str, value: str) -> str:
        """Check one or several phone numbers and return them in normal form."""
        try:
            return normalise_phone(value)
        except InvalidPhone as problem:
            self.note(field, str(problem))
            return value

    def district(self, field: str, value: str, known: Collection[str] | None = None) -> str:
        """Check a district code; empty means none.

        Args:
            field: Path of the field.
            value: The code.
            known: Codes of the catalogue, those of abolished districts included; None to check the form only.
        """
        if value and not _DISTRICT.fullmatch(value):
            self.note(field, "a district code has six digits, e.g. 500107")
        elif value and known is not None and value not in known:
            self.note(field, f"{value} is not in the catalogue of districts, see DispatcherService.GetCatalogue")
        return value

    def score(self, field: str, value: int) -> int:
        """Check a rating."""
        if not 1 <= value <= BEST_SCORE:
            self.note(field, f"is {value}, must be 1–{BEST_SCORE}")
        return value

    def attachments(self, field: str, values: Sequence[str]) -> tuple[str, ...]:
        """Check references of attachments."""
        if len(values) > MAX_ATTACHMENTS:
            self.note(field, f"{len(values)} references, at most {MAX_ATTACHMENTS} are allowed")
        return tuple(self.text(f"{field}[{i}]", value, most=MAX_ATTACHMENT_REF) for i, value in enumerate(values[:MAX_ATTACHMENTS]))


def is_reference(text: str) -> bool:
    """Tell whether `text` may be a ticket's id or number; what is not must not reach a database or an answer."""
    return _REFERENCE.fullmatch(text) is not None
