"""The same promises for every adapter of a port: in memory, and on PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import create_engine, text

from chassis.outbox import Outbox
from chassis.sql import build_engine
from services.sla.adapters.events import SOURCE
from services.sla.adapters.sql import SlaUnitOfWork, SqlDeadlineReader
from services.sla.adapters.tables import metadata, outbox
from services.sla.telemetry import SlaMetrics
from tests.unit.sla.builders import rules
from tests.unit.sla.fakes import MemoryDeadlineReader, MemoryStore, MemoryUnitOfWork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from services.sla.application.ports import DeadlineReader
    from services.sla.domain.promise import Rules


class Stores:
    """One adapter of every port, over the same store."""

    def __init__(self, open_unit_of_work: Callable[[Callable[[], Rules]], SlaUnitOfWork], reader: DeadlineReader) -> None:
        self._open = open_unit_of_work
        self.reader = reader
        self.rules = rules()

    def open(self) -> SlaUnitOfWork:
        return self._open(lambda: self.rules)


@pytest.fixture(params=["memory", "postgresql"])
def stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    if request.param == "memory":
        store = MemoryStore()
        yield Stores(lambda current: MemoryUnitOfWork(store, current), MemoryDeadlineReader(store))  # type: ignore[arg-type, return-value]
        return
    url = request.getfixturevalue("database_url")
    empty(url)
    engine = build_engine(url, service="sla", pool_size=4)
    metrics = SlaMetrics(CollectorRegistry())
    yield Stores(lambda current: SlaUnitOfWork(engine, Outbox(outbox, source=SOURCE), current, metrics), SqlDeadlineReader(engine))
    engine.dispose()


def empty(url: str) -> None:
    """Empty the tables of the SLA service."""
    owner = create_engine(url)
    with owner.begin() as conn:
        conn.execute(text(f"TRUNCATE {', '.join(table.fullname for table in metadata.sorted_tables)}"))
    owner.dispose()
