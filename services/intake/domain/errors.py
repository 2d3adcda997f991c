"""What can be wrong with a command, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from services.intake.domain.types import RequestId, TicketState, Version


class IntakeError(Exception):
    """Base of all refusals of this service."""


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One field that is wrong.

    Attributes:
        field: Path in the request, e.g. `enterprise.uscc`.
        description: What is wrong and what is allowed.
    """

    field: str
    description: str


class InvalidFields(IntakeError):
    """Fields are missing or malformed."""

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        super().__init__(", ".join(problem.field for problem in problems))
        self.problems = tuple(problems)


class RequestIdReused(IntakeError):
    """The request id was used for a different request."""

    def __init__(self, request_id: RequestId) -> None:
        super().__init__(request_id)
        self.request_id = request_id


class TicketNotFound(IntakeError):
    """There is no such ticket, or it is not the caller's."""

    def __init__(self, reference: str) -> None:
        super().__init__(reference)
        self.reference = reference


class StateConflict(IntakeError):
    """The ticket's state does not allow this."""

    def __init__(self, state: TicketState, allowed: Sequence[TicketState]) -> None:
        super().__init__(state)
        self.state = state
        self.allowed = tuple(allowed)


class ReopenWindowOver(IntakeError):
    """The ticket was resolved too long ago."""

    def __init__(self, until: datetime) -> None:
        super().__init__(until.isoformat())
        self.until = until


class NotLeadUnit(IntakeError):
    """The unit does not lead the ticket now."""


class InvalidPageToken(IntakeError):
    """The token was not given out by this list with these filters."""


class WatcherTooSlow(IntakeError):
    """The watcher did not read in time."""

    def __init__(self, resume_after: Version) -> None:
        super().__init__(str(resume_after))
        self.resume_after = resume_after


class VersionAhead(IntakeError):
    """A watch starts after a version that the ticket has not reached.

    Attributes:
        present: Current version of the ticket.
    """

    def __init__(self, present: Version) -> None:
        super().__init__(str(present))
        self.present = present
