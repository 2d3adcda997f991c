"""Refusals: what a door answers when a command cannot be carried out, as data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

_NOTHING: Mapping[str, str] = MappingProxyType({})


class RefusalKind(StrEnum):
    """Sort of refusal, independent of the protocol that carries it."""

    INVALID = "invalid"
    NOT_FOUND = "not_found"
    ALREADY_EXISTS = "already_exists"
    CONFLICT = "conflict"
    FORBIDDEN = "forbidden"
    UNAUTHENTICATED = "unauthenticated"
    EXHAUSTED = "exhausted"
    UNAVAILABLE = "unavailable"
    ABORTED = "aborted"
    DEADLINE = "deadline"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Violation:
    """One field that is wrong.

    Attributes:
        field: Path of the field in the request, e.g. `enterprise.uscc`.
        description: What is wrong with it and what is allowed, for people.
    """

    field: str
    description: str


class Refusal(Exception):
    """A command was refused and changed nothing.

    Attributes:
        kind: Sort of refusal.
        reason: Value name of the service's `ErrorReason` without its prefix, e.g. `STALE_EPOCH`.
        message: What is wrong, where, and what to do, for people.
        metadata: Facts for programs; keys are documented at the reason.
        violations: Fields at fault.
        retry_after: When the same command may succeed; None if never as it stands.
    """

    def __init__(
        self,
        kind: RefusalKind,
        reason: str,
        message: str,
        *,
        metadata: Mapping[str, str] = _NOTHING,
        violations: Sequence[Violation] = (),
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(f"{reason}: {message}")
        self.kind = kind
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata)
        self.violations = tuple(violations)
        self.retry_after = retry_after

    @classmethod
    def of_fields(cls, violations: Sequence[Violation], *, reason: str = "INVALID_FIELD") -> Refusal:
        """Return the refusal of a command with wrong fields; its message names them."""
        message = "; ".join(f"{violation.field} {violation.description}" for violation in violations)
        return cls(RefusalKind.INVALID, reason, message, violations=violations)
