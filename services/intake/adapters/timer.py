"""Timer adapter: closes resolved tickets after the period for objections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.intake.application.close_resolved import CloseResolved
from services.intake.domain.ticket import FOLLOW_UP_WINDOW
from services.intake.domain.types import TicketId

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from chassis.clock import Clock
    from services.intake.adapters.sql import IntakeUnitOfWork
    from services.intake.telemetry import IntakeMetrics


class DueForClosing:
    """Tickets that are due to be closed: `chassis.due_items.DueItems`."""

    def __init__(self, open_unit_of_work: Callable[[], IntakeUnitOfWork], clock: Clock, metrics: IntakeMetrics) -> None:
        self._open = open_unit_of_work
        self._clock = clock
        self._close = CloseResolved(clock)
        self._metrics = metrics

    def act(self, size: int, *, without: Collection[str] = (), only: str | None = None) -> int:
        """See `DueItems.act`."""
        with self._open() as uow:
            closed = self._close(
                uow,
                size,
                without=[TicketId(ticket_id) for ticket_id in without],
                only=None if only is None else TicketId(only),
            )
            uow.commit()
        self._metrics.closed.inc(closed)
        return closed

    def ids(self, size: int, *, without: Collection[str] = ()) -> Sequence[str]:
        """See `DueItems.ids`."""
        limit = self._clock.now() - FOLLOW_UP_WINDOW
        with self._open() as uow:
            return uow.tickets.ids_resolved_before(limit, size, [TicketId(ticket_id) for ticket_id in without])
