"""The door for time: take up the model that is in the folder, and remember that it serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from services.classifier.application.record_release import record_release
from services.classifier.domain.errors import ModelDamagedError, NoModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from chassis.clock import Clock
    from services.classifier.adapters.model_store import ModelSlot
    from services.classifier.adapters.sql import ClassifierUnitOfWork
    from services.classifier.domain.classification import ModelRelease
    from services.classifier.telemetry import ClassifierMetrics

log = structlog.get_logger()


class ModelWatch:
    """Follows the model folder."""

    def __init__(
        self,
        slot: ModelSlot,
        open_unit_of_work: Callable[[], ClassifierUnitOfWork],
        clock: Clock,
        metrics: ClassifierMetrics,
    ) -> None:
        self._slot = slot
        self._open = open_unit_of_work
        self._clock = clock
        self._metrics = metrics
        self._unrecorded: ModelRelease | None = None

    def load(self) -> None:
        """Take up the folder's model if it is not the one that answers; one that cannot be served is logged and ignored."""
        try:
            changed = self._slot.follow()
        except NoModelError:
            log.error("model_missing")  # noqa: TRY400 - the folder is empty; a traceback tells no more
            return
        except ModelDamagedError as error:
            log.error("model_damaged", path=error.path, problem=error.problem)  # noqa: TRY400 - says it all
            return
        if changed:
            release = self._slot.current().release
            self._unrecorded = release
            self._metrics.serve(release)
            log.info("model_loaded", version=release.version, sha256=release.sha256, training_texts=release.training_texts)

    def tick(self) -> int:
        """Follow the folder and remember the model that serves.

        Returns:
            0: there is no more to do at once.

        Raises:
            DBAPIError: The database is away; the next tick tries again.
        """
        self.load()
        if self._unrecorded is not None:
            with self._open() as uow:
                record_release(uow, self._unrecorded, self._clock.now())
                uow.commit()
            self._unrecorded = None
        return 0
