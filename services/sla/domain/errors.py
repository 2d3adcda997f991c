"""What the SLA service refuses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date


class SlaError(Exception):
    """Base of the SLA service's refusals; nothing was changed."""


class CalendarUnknown(SlaError):
    """A day is asked for of a year for which no notice of the State Council is at hand. Nothing is guessed.

    Attributes:
        year: The first such year that the question needs.
    """

    def __init__(self, year: int) -> None:
        super().__init__(f"no notice for {year}")
        self.year = year


class InvalidNotice(SlaError):
    """A notice contradicts itself or cannot be meant: it must not be used.

    Attributes:
        year: The notice's year.
        problem: What is wrong.
        day: Where; None if it is the notice as a whole.
    """

    text_is_public = True

    def __init__(self, year: int, problem: str, day: date | None = None) -> None:
        super().__init__(f"notice for {year}: {problem}" + (f" ({day})" if day else ""))
        self.year = year
        self.problem = problem
        self.day = day


@dataclass(frozen=True, slots=True)
class Problem:
    """One field that is wrong.

    Attributes:
        field: Path of the field, e.g. `pauses[3].resume_time`.
        description: What is wrong with it and what is allowed.
    """

    field: str
    description: str


class InvalidFields(SlaError):
    """Fields of a command are missing or out of range.

    Attributes:
        problems: At least one.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(f"{each.field} {each.description}" for each in problems))
        self.problems = tuple(problems)


class InvalidPageToken(SlaError):
    """The page token is not one that this list gave out for these filters."""


class TicketNotFound(SlaError):
    """No deadlines of such a ticket are the caller's to see.

    Attributes:
        ticket_id: As asked for.
    """

    def __init__(self, ticket_id: str) -> None:
        super().__init__(ticket_id)
        self.ticket_id = ticket_id
