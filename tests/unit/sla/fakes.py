"""In-memory adapters; the conformance suites hold them and the real ones to the same promises."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Self

from chassis.caller import Role
from services.sla.application.ports import ANY
from services.sla.domain.deadline import Deadline, DeadlineChanged, TicketDeadlines, TicketId
from services.sla.domain.replay import State

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from chassis.caller import Caller
    from services.sla.application.ports import Chosen, DueFilter, DuePosition
    from services.sla.domain.calendar import CalendarVersion
    from services.sla.domain.promise import Rules


class MemoryStore:
    """What a database would keep."""

    def __init__(self) -> None:
        self.tickets: dict[TicketId, TicketDeadlines] = {}
        self.activations: list[tuple[CalendarVersion, datetime]] = []
        self.announced: list[DeadlineChanged] = []


class MemoryUnitOfWork:
    def __init__(self, store: MemoryStore, rules: Callable[[], Rules]) -> None:
        self.store = store
        self._rules_now = rules

    def __enter__(self) -> Self:
        self.rules = self._rules_now()
        self.tickets = MemoryTickets(self.store, self.rules)
        self.calendars = MemoryCalendars(self.store)
        self._announced: list[DeadlineChanged] = []
        return self

    def __exit__(self, *_: object) -> None:
        """Forget what was not committed."""

    def announce(self, changes: Sequence[DeadlineChanged]) -> None:
        self._announced += changes

    def commit(self) -> None:
        self.store.tickets |= self.tickets.changed
        self.store.activations += self.calendars.changed
        self.store.announced += self._announced


class MemoryTickets:
    def __init__(self, store: MemoryStore, rules: Rules) -> None:
        self._store = store
        self._rules = rules
        self._held: dict[TicketId, TicketDeadlines] = {}
        self.changed: dict[TicketId, TicketDeadlines] = {}

    def lock_many(self, ticket_ids: Collection[TicketId]) -> None:
        for ticket_id in ticket_ids:
            self.get(ticket_id)

    def get(self, ticket_id: TicketId) -> TicketDeadlines:
        if ticket_id not in self._held:
            self._held[ticket_id] = copy.deepcopy(self._store.tickets.get(ticket_id) or TicketDeadlines(ticket_id))
        return self._held[ticket_id]

    def put(self, ticket: TicketDeadlines) -> None:
        self.changed[ticket.ticket_id] = ticket

    def lock_due(self, until: datetime, size: int, *, chosen: Chosen = ANY) -> Sequence[TicketDeadlines]:
        checks = {ticket_id: ticket.check_time(self._rules) for ticket_id, ticket in self._store.tickets.items()}
        due = sorted((time, ticket_id) for ticket_id, time in checks.items() if time is not None and time <= until)
        return [self.get(ticket_id) for _, ticket_id in due if _is_chosen(ticket_id, chosen)][:size]

    def lock_computed_otherwise(self, version: CalendarVersion, size: int, *, chosen: Chosen = ANY) -> Sequence[TicketDeadlines]:
        otherwise = [
            ticket_id for ticket_id, ticket in self._store.tickets.items() if ticket.is_open and ticket.calendar_version != version
        ]
        return [self.get(ticket_id) for ticket_id in otherwise if _is_chosen(ticket_id, chosen)][:size]


def _is_chosen(ticket_id: TicketId, chosen: Chosen) -> bool:
    return ticket_id not in chosen.without and chosen.only in {None, ticket_id}


class MemoryCalendars:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.changed: list[tuple[CalendarVersion, datetime]] = []

    def activate(self, version: CalendarVersion, at: datetime) -> None:
        self.changed.append((version, at))

    def active(self) -> CalendarVersion | None:
        activations = self._store.activations + self.changed
        return activations[-1][0] if activations else None


class MemoryDeadlineReader:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def of_ticket(self, ticket_id: TicketId, caller: Caller) -> Sequence[Deadline]:
        return [each for each in self._visible_to(caller) if each.ticket_id == ticket_id]

    def due(self, wanted: DueFilter, caller: Caller, after: DuePosition | None, size: int) -> Sequence[Deadline]:
        found = sorted(
            ((each.due_time, each.ticket_id, each.kind, each.cycle), each)
            for each in self._visible_to(caller)
            if each.state is State.RUNNING
            and each.due_time is not None
            and (wanted.unit is None or each.unit == wanted.unit)
            and (wanted.due_time_from is None or each.due_time >= wanted.due_time_from)
            and (wanted.due_time_until is None or each.due_time < wanted.due_time_until)
        )
        place = None if after is None else (after.due_time, after.ticket_id, after.kind, after.cycle)
        return [each for position, each in found if place is None or position > place][:size]

    def _visible_to(self, caller: Caller) -> list[Deadline]:
        return [each for ticket in self._store.tickets.values() if _sees(caller, ticket) for each in ticket.deadlines]


def _sees(caller: Caller, ticket: TicketDeadlines) -> bool:
    if caller.sees_everything:
        return True
    owner = ticket.facts.portal if caller.role is Role.PORTAL else ticket.facts.lead_unit()
    return bool(owner) and owner == caller.subject
