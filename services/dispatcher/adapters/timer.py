"""Timer adapter: runs the minute timer on due dispatches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.dispatcher.application.guard_minute import guard_minute
from services.dispatcher.domain.values import TicketId

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from services.dispatcher.adapters.sql import DispatcherUnitOfWork
    from services.dispatcher.application.ports import Office


class DueDispatches:
    """Dispatches whose next action is due: `chassis.due_items.DueItems`."""

    def __init__(self, open_unit_of_work: Callable[[], DispatcherUnitOfWork], office: Office) -> None:
        self._open = open_unit_of_work
        self._office = office

    def act(self, size: int, *, without: Collection[str] = (), only: str | None = None) -> int:
        """See `DueItems.act`."""
        with self._open() as uow:
            acted = guard_minute(
                self._office,
                uow,
                size,
                without=[TicketId(ticket_id) for ticket_id in without],
                only=None if only is None else TicketId(only),
            )
            uow.commit()
        return acted

    def ids(self, size: int, *, without: Collection[str] = ()) -> Sequence[str]:
        """See `DueItems.ids`."""
        with self._open() as uow:
            return uow.dispatches.due_ids(self._office.clock.now(), size, [TicketId(ticket_id) for ticket_id in without])
