"""A database with intake's schema, and a door before it that most tests share."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

from chassis.logging import _traceback
from chassis.migrations import migrate
from services.intake import migrations
from tests.conftest import fresh_database
from tests.integration.intake.harness import Store, open_door

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.local.parts import LocalParts
    from tests.integration.intake.harness import Client, Door


@pytest.fixture(scope="session", autouse=True)
def _plain_logs() -> None:
    """Render exceptions as a service does: the library's default draws every frame with its variables, which takes seconds."""
    structlog.configure(processors=[structlog.processors.add_log_level, _traceback, structlog.processors.JSONRenderer()])


@pytest.fixture(scope="session")
def store(parts: LocalParts) -> Iterator[Store]:
    with fresh_store(parts) as opened:
        yield opened


@pytest.fixture
def own_store(parts: LocalParts) -> Iterator[Store]:
    """A store that a test may take away from everybody."""
    with fresh_store(parts) as opened:
        yield opened


@contextmanager
def fresh_store(parts: LocalParts) -> Iterator[Store]:
    with fresh_database(parts.database_url) as url:
        migrate(url, {"intake": Path(next(iter(migrations.__path__)))})
        opened = Store(url)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def door(store: Store) -> Iterator[Door]:
    with open_door(store) as opened:
        yield opened


@pytest.fixture
def portal(door: Door) -> Client:
    return door.portal()
