"""Reading dispatches, narrowed to what the caller may see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chassis.caller import Role
from services.dispatcher.application.ports import DispatchFilter
from services.dispatcher.domain.checks import Violations, is_code
from services.dispatcher.domain.errors import DispatchNotFound
from services.dispatcher.domain.values import UnitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chassis.caller import Caller
    from services.dispatcher.application.ports import Position, Reading, Seen
    from services.dispatcher.domain.values import State


@dataclass(frozen=True, slots=True, kw_only=True)
class GetDispatch:
    """Who wants to see which dispatch, by the ticket's id or number."""

    caller: Caller
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListDispatches:
    """Who wants to see which dispatches; `unit` empty means the caller's own, or all for desk and operator."""

    caller: Caller
    unit: str
    states: tuple[State, ...]
    after: Position | None
    size: int

    def __post_init__(self) -> None:
        """Check the fields."""
        violations = Violations()
        violations.code("unit", self.unit)
        violations.raise_if_any()


def get_dispatch(reading: Reading, query: GetDispatch) -> Seen:
    """Return a dispatch.

    Raises:
        DispatchNotFound: There is none, or it is not the caller's.
    """
    seen = reading.find(query.reference, own_unit(query.caller)) if is_code(query.reference) else None
    if seen is None:
        raise DispatchNotFound(query.reference)
    return seen


def list_dispatches(reading: Reading, query: ListDispatches) -> Sequence[Seen]:
    """Return a page of dispatches, newest assignment first. Another unit's list is empty for a unit."""
    own = own_unit(query.caller)
    asked = UnitCode(query.unit) if query.unit else None
    if own is not None and asked not in {None, own}:
        return []
    return reading.page(DispatchFilter(unit=own or asked, states=query.states), query.after, query.size)


def own_unit(caller: Caller) -> UnitCode | None:
    """Return the unit that a caller is narrowed to; None for the desk and for operators."""
    if caller.sees_everything:
        return None
    return UnitCode(caller.subject) if caller.role is Role.UNIT else UnitCode("")
