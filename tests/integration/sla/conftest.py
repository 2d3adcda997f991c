"""A migrated database, emptied for each test, and a unit of work on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import create_engine, text

from chassis.outbox import Outbox
from chassis.sql import build_engine
from services.sla.adapters.events import SOURCE
from services.sla.adapters.sql import SlaUnitOfWork
from services.sla.adapters.tables import metadata, outbox
from services.sla.telemetry import SlaMetrics
from tests.unit.sla.builders import rules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from services.sla.domain.promise import Rules


class Database:
    """The service's database, and units of work on it by rules that a test may change."""

    def __init__(self, engine: Engine, owner: Engine) -> None:
        self.engine = engine
        self.owner = owner
        self.registry = CollectorRegistry()
        self.metrics = SlaMetrics(self.registry)
        self.rules: Rules = rules()

    def open(self) -> SlaUnitOfWork:
        return SlaUnitOfWork(self.engine, Outbox(outbox, source=SOURCE), lambda: self.rules, self.metrics)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    owner = create_engine(database_url)
    with owner.begin() as conn:
        conn.execute(text(f"TRUNCATE {', '.join(table.fullname for table in metadata.sorted_tables)}"))
    engine = build_engine(database_url, service="sla", pool_size=6)
    yield Database(engine, owner)
    engine.dispose()
    owner.dispose()
