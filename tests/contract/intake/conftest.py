"""Every adapter of intake's ports; there is one, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Engine, create_engine, text

import services.intake
from chassis.migrations import migrate
from chassis.outbox import Outbox
from chassis.sql import build_engine
from services.intake.adapters import sql, tables
from services.intake.adapters.events import SOURCE
from tests.conftest import fresh_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.local.parts import LocalParts

OpenUnitOfWork = Callable[[], sql.IntakeUnitOfWork]


@pytest.fixture(scope="session")
def database(parts: LocalParts) -> Iterator[str]:
    with fresh_database(parts.database_url) as url:
        migrate(url, {"intake": Path(services.intake.__file__).parent / "migrations"})
        yield url


@pytest.fixture(scope="session")
def engine(database: str) -> Iterator[Engine]:
    made = build_engine(database, service="intake", pool_size=20)
    yield made
    made.dispose()


@pytest.fixture
def admin(database: str) -> Iterator[Engine]:
    """Looks at the tables past the adapter."""
    made = create_engine(database)
    yield made
    made.dispose()


@pytest.fixture
def open_unit_of_work(engine: Engine, admin: Engine) -> Iterator[OpenUnitOfWork]:
    """Opens a new unit of work on empty stores."""
    outbox = Outbox(tables.outbox, source=SOURCE)
    yield lambda: sql.IntakeUnitOfWork(engine, outbox)
    with admin.begin() as conn:
        conn.execute(text(f"TRUNCATE {', '.join(table.fullname for table in tables.metadata.sorted_tables)}"))


@pytest.fixture
def change_log(engine: Engine) -> sql.SqlChangeLog:
    return sql.SqlChangeLog(engine)
