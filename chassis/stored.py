"""Reads enums from rows that a newer release may have written."""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import TypeVar

import structlog

log = structlog.get_logger()

E = TypeVar("E", bound=StrEnum)


def known(kind: type[E], value: str, otherwise: E | None = None) -> E:
    """Return the member of an enum with a stored value.

    Args:
        kind: The enum.
        value: The stored value.
        otherwise: Result for a value that this release does not know. If None, the result is the value itself: it compares unequal to every
        member, so that nothing acts on it, and it is written back unchanged.
    """
    try:
        return kind(value)
    except ValueError:
        log_unknown(kind.__name__, value)
    if otherwise is not None:
        return otherwise
    unknown = str.__new__(kind, value)
    unknown._name_ = unknown._value_ = value
    return unknown


@lru_cache(maxsize=1000)
def log_unknown(kind: str, value: str) -> None:
    """Log a stored value of a newer release, once for each value."""
    log.warning("stored_value_unknown", kind=kind, value=value[:40])
