"""Why a command is refused. Refused commands change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from services.dispatcher.domain.values import State, TicketId, UnitCode


class DispatcherError(Exception):
    """Base of all refusals of the dispatcher."""


class InvalidFields(DispatcherError):
    """Fields are missing or malformed.

    Attributes:
        violations: Pairs of a field's path and what is wrong with it.
    """

    def __init__(self, violations: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field}: {description}" for field, description in violations))
        self.violations = tuple(violations)


class DispatchNotFound(DispatcherError):
    """There is no such dispatch, or it is not the caller's; which of the two is not told."""

    def __init__(self, ticket_id: TicketId | str) -> None:
        super().__init__(ticket_id)
        self.ticket_id = ticket_id


class StaleEpoch(DispatcherError):
    """The ticket was dispatched anew since."""

    def __init__(self, active_epoch: int) -> None:
        super().__init__(active_epoch)
        self.active_epoch = active_epoch


class StateConflict(DispatcherError):
    """The state does not allow this."""

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self.state = state


class NotLeadUnit(DispatcherError):
    """The caller helps but does not lead."""

    def __init__(self, lead: UnitCode) -> None:
        super().__init__(lead)
        self.lead = lead


class UnknownUnit(DispatcherError):
    """No unit of that code is in force."""

    def __init__(self, unit: str, field: str) -> None:
        super().__init__(unit, field)
        self.unit = unit
        self.field = field


class RequestIdReused(DispatcherError):
    """The id was used for a different request of the unit."""

    def __init__(self, request_id: str) -> None:
        super().__init__(request_id)
        self.request_id = request_id


class DecisionIsFinal(DispatcherError):
    """An arbiter decided: it cannot be returned."""


class PastDue(DispatcherError):
    """The due time is past: no extension can be granted."""

    def __init__(self, due_time: datetime) -> None:
        super().__init__(due_time)
        self.due_time = due_time


class NoPendingExtension(DispatcherError):
    """No extension was asked for."""


class CatalogueInvalid(DispatcherError):
    """The catalogue contradicts itself; the dispatcher does not start with it.

    Attributes:
        problems: Each thing that is wrong, for people.
    """

    text_is_public = True

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("the catalogue is not usable:\n- " + "\n- ".join(problems))
        self.problems = tuple(problems)
