"""Compute a due time without keeping anything."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from services.sla.domain.errors import InvalidFields, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from services.sla.domain.clock import Pause
    from services.sla.domain.promise import Rules

MOST_WORKDAYS = 250
MOST_PAUSES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeDeadline:
    """Wanted: the due time of a clock.

    Attributes:
        start_time: When it starts.
        workdays: Whole workdays; 0 for as many as are promised.
        pauses: When it stands still, in order.
        extension_workdays: Workdays granted on top.
    """

    start_time: datetime
    workdays: int = 0
    pauses: tuple[Pause, ...] = ()
    extension_workdays: int = 0


def compute_deadline(rules: Rules, query: ComputeDeadline) -> datetime | None:
    """Return the due time; None if the last pause still lasts when it would be due.

    Raises:
        InvalidFields: A number is out of range, or the pauses are not in order.
        CalendarUnknown: The counting needs a year without a notice.
    """
    problems = list(_problems(query))
    if problems:
        raise InvalidFields(problems)
    workdays = (query.workdays or rules.resolution.workdays) + query.extension_workdays
    return rules.resolution.clock.due(query.start_time, workdays, query.pauses)


def _problems(query: ComputeDeadline) -> Iterator[Problem]:
    if not 0 <= query.workdays <= MOST_WORKDAYS:
        yield Problem("workdays", f"is {query.workdays}, must be 1–{MOST_WORKDAYS}, or 0 for the promised number")
    if not 0 <= query.extension_workdays <= MOST_WORKDAYS:
        yield Problem("extension_workdays", f"is {query.extension_workdays}, must be 0–{MOST_WORKDAYS}")
    if len(query.pauses) > MOST_PAUSES:
        yield Problem("pauses", f"are {len(query.pauses)}, at most {MOST_PAUSES} are allowed")
    if query.pauses and query.pauses[0].pause_time < query.start_time:
        yield Problem("pauses[0].pause_time", "is before start_time")
    for n, pause in enumerate(query.pauses):
        if pause.resume_time is not None and pause.resume_time < pause.pause_time:
            yield Problem(f"pauses[{n}].resume_time", "is before its pause_time")
    for n, (earlier, later) in enumerate(pairwise(query.pauses), start=1):
        if earlier.resume_time is None:
            yield Problem(f"pauses[{n - 1}].resume_time", "is missing; only the last pause may last")
        elif later.pause_time < earlier.resume_time:
            yield Problem(f"pauses[{n}].pause_time", "is before the end of the pause before it")
