"""Fresh databases for migrations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import fresh_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.local.parts import LocalParts


@pytest.fixture
def empty_database(parts: LocalParts) -> Iterator[str]:
    with fresh_database(parts.database_url) as url:
        yield url
