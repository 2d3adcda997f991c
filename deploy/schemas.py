"""The database schemas of the four services."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from chassis.migrations import migrate

if TYPE_CHECKING:
    from collections.abc import Sequence

SERVICES = ("intake", "classifier", "dispatcher", "sla")
_ROOT = Path(__file__).resolve().parents[1]


def migrate_all(url: str) -> Sequence[str]:
    """Bring the schemas of all services and of identities to their newest version; returns their names.

    Args:
        url: The database, as a user that may create schemas and roles.
    """
    return migrate(url, {service: _ROOT / "services" / service / "migrations" for service in SERVICES})
