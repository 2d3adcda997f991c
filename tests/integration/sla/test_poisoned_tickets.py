"""The SLA service's timers, and tickets on which they cannot act."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select, text

from chassis.due_items import DueItemsTick
from chassis.metrics import ChassisMetrics
from chassis.testing import ManualClock
from services.sla.adapters import tables
from services.sla.adapters.kafka import handle_messages
from services.sla.adapters.timer import DueDeadlines
from tests.unit.sla.builders import shanghai
from tests.unit.sla.messages import received, submitted

if TYPE_CHECKING:
    from datetime import datetime

    from tests.integration.sla.conftest import Database

MONDAY = shanghai("2026-11-23T09:00")
BEHIND = 200


class Known:
    """A watermark that stands at an instant."""

    def __init__(self, until: datetime) -> None:
        self._until = until

    def known_until(self) -> datetime:
        return self._until


def due_tick(database: Database, at: datetime) -> tuple[DueItemsTick, ChassisMetrics]:
    metrics = ChassisMetrics()
    items = DueDeadlines(database.open, Known(at), ManualClock(at), database.metrics)  # type: ignore[arg-type]  # the watermark stands in
    return DueItemsTick("due", items, metrics, batch=100, monotonic=lambda: 0.0), metrics


def test_a_ticket_whose_facts_cannot_be_read_stops_none_of_the_two_hundred_behind_it(database: Database) -> None:
    with database.open() as uow:
        handle_messages(uow, [received(submitted("poisoned", MONDAY - timedelta(seconds=9)), MONDAY)])
        handle_messages(uow, [received(submitted(f"t-{n}", MONDAY), MONDAY) for n in range(BEHIND)])
        uow.commit()
    with database.owner.begin() as conn:
        conn.execute(text("""UPDATE sla.ticket_clock SET facts = '{"nonsense": 1}' WHERE ticket_id = 'poisoned'"""))
    tick, metrics = due_tick(database, MONDAY + timedelta(seconds=70))

    acted = []
    while looked_at := tick():
        acted.append(looked_at)

    with database.engine.connect() as conn:
        announced = set(conn.scalars(select(tables.outbox.c.aggregateid).where(tables.outbox.c.type.endswith("DeadlineBreached"))))
    assert announced == {f"t-{n}" for n in range(BEHIND)}
    assert acted == [99, 100, 1]
    assert metrics.registry.get_sample_value("paidan_timer_item_failures_total", {"timer": "due"}) == 1
