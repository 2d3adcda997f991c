"""List the classes that the model knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.classifier.application.ports import Models
    from services.classifier.domain.classification import RequestClass


def list_classes(models: Models) -> Sequence[RequestClass]:
    """Return the classes in the catalogue's order, `other` last.

    Raises:
        NoModelError: No model is loaded yet.
    """
    return models.current().classes
