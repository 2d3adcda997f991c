"""Fill the registry of enterprises."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.intake.application.ports import UnitOfWork
    from services.intake.domain.ticket import Enterprise


def import_enterprises(uow: UnitOfWork, enterprises: Sequence[Enterprise]) -> int:
    """Add enterprises, or replace what is known of them; returns how many were given."""
    uow.enterprises.put(enterprises)
    return len(enterprises)
