"""Real PostgreSQL and real Kafka for the tests that ask for them, started once a run and ended with it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, make_url, text

from deploy.local.parts import open_parts
from deploy.schemas import migrate_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.local.parts import LocalParts


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalParts]:
    """A Kafka and a PostgreSQL of this run's own."""
    with open_parts(tmp_path_factory.mktemp("parts"), on_progress=lambda _line: None) as opened:
        yield opened


@pytest.fixture(scope="session")
def kafka_bootstrap(parts: LocalParts) -> str:
    return parts.kafka_bootstrap


@pytest.fixture(scope="session")
def database_url(parts: LocalParts) -> Iterator[str]:
    """A database with every service's schema."""
    with fresh_database(parts.database_url) as url:
        migrate_all(url)
        yield url


def fresh_database(admin_url: str) -> FreshDatabase:
    """Return a context manager that makes a new, empty database beside the one of `admin_url` and drops it again."""
    return FreshDatabase(admin_url)


class FreshDatabase:
    def __init__(self, admin_url: str) -> None:
        self._admin = create_engine(admin_url, isolation_level="AUTOCOMMIT")
        self._name = f"test_{uuid.uuid4().hex[:12]}"
        self.url = make_url(admin_url).set(database=self._name).render_as_string(hide_password=False)

    def __enter__(self) -> str:
        with self._admin.connect() as conn:
            conn.execute(text(f"CREATE DATABASE {self._name}"))
        return self.url

    def __exit__(self, *_: object) -> None:
        with self._admin.connect() as conn:
            conn.execute(text(f"DROP DATABASE {self._name} WITH (FORCE)"))
        self._admin.dispose()
