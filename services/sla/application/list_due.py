"""List what falls due."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chassis.caller import Role
from services.sla.domain.errors import InvalidFields, Problem
from services.sla.domain.facts import UnitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chassis.caller import Caller
    from services.sla.application.ports import DeadlineReader, DueFilter, DuePosition
    from services.sla.domain.deadline import Deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class ListDue:
    """Wanted: running deadlines, earliest due first.

    Attributes:
        caller: Who asks.
        wanted: Which.
        after: Where the page before ended; None for the first page.
        size: Most deadlines to return.
    """

    caller: Caller
    wanted: DueFilter
    after: DuePosition | None
    size: int


def list_due(reader: DeadlineReader, query: ListDue) -> Sequence[Deadline]:
    """Return a page; a unit's holds its own deadlines only.

    Raises:
        InvalidFields: A unit asks for another unit's.
    """
    wanted = query.wanted
    if query.caller.role is Role.UNIT:
        if wanted.unit not in {None, query.caller.subject}:
            raise InvalidFields([Problem("unit", f"is {wanted.unit}; a unit lists its own deadlines, leave it empty")])
        wanted = replace(wanted, unit=UnitCode(query.caller.subject))
    return reader.due(wanted, query.caller, query.after, query.size)
