"""A database with the dispatcher's schema, and a replica on it for each test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import services.dispatcher
from chassis.migrations import migrate
from tests.conftest import fresh_database
from tests.integration.dispatcher.harness import Harness, new_ticket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.local.parts import LocalParts
    from services.dispatcher.domain.values import TicketId


@pytest.fixture(scope="session")
def dispatcher_url(parts: LocalParts) -> Iterator[str]:
    with fresh_database(parts.database_url) as url:
        migrate(url, {"dispatcher": Path(services.dispatcher.__file__).parent / "migrations"})
        yield url


@pytest.fixture
def harness(dispatcher_url: str) -> Iterator[Harness]:
    opened = Harness(dispatcher_url)
    yield opened
    opened.close()


@pytest.fixture
def ticket_id() -> TicketId:
    return new_ticket()
