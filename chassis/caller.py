"""Who calls."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a caller is; the access tables speak of roles."""

    PORTAL = "portal"
    UNIT = "unit"
    DESK = "desk"
    OPERATOR = "operator"


EVERY_ROLE = frozenset(Role)
STAFF = frozenset({Role.DESK, Role.OPERATOR})


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller.

    Attributes:
        role: What it is.
        subject: Which one: the portal's, unit's, desk's or operator's code.
    """

    role: Role
    subject: str

    @property
    def sees_everything(self) -> bool:
        """True for the desk and for operators, who are not narrowed to tickets of their own."""
        return self.role in STAFF
