"""Remember which model this replica serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from services.classifier.application.ports import UnitOfWork
    from services.classifier.domain.classification import ModelRelease


def record_release(uow: UnitOfWork, release: ModelRelease, activate_time: datetime) -> None:
    """Remember that `release` serves since `activate_time`; of a model that served before, the first time is kept."""
    uow.releases.add(release, activate_time)
