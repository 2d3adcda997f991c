"""The classifier's errors as refusals: one table."""

from __future__ import annotations

from datetime import timedelta

from chassis.refusal import Refusal, RefusalKind, Violation
from services.classifier.domain.errors import InvalidFieldError, NoModelError

DOMAIN = "classifier.paidan"

_RETRY = timedelta(seconds=5)


def translate(error: Exception) -> Refusal | None:
    """Return the refusal for an error of the classifier, or None for another's."""
    match error:
        case InvalidFieldError(field=field, description=description):
            return Refusal.of_fields([Violation(field, description)])
        case NoModelError():
            return Refusal(RefusalKind.UNAVAILABLE, "NO_MODEL", "no model is loaded yet; try again in a moment", retry_after=_RETRY)
        case _:
            return None
