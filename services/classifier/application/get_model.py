"""Tell which model answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.classifier.application.ports import Models
    from services.classifier.domain.classification import ModelRelease


def get_model(models: Models) -> ModelRelease:
    """Return the model that answers now.

    Raises:
        NoModelError: No model is loaded yet.
    """
    return models.current().release
