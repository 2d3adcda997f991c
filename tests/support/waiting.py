"""Waiting for what is to happen, without guessing how long it takes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_POLL_SECONDS = 0.05


def eventually(probe: Callable[[], T], what: str | Callable[[], str], *, within: float = 60, every: float = _POLL_SECONDS) -> T:
    """Return the first truthy answer of `probe`.

    Raises:
        AssertionError: There was none in time; `what` says what was waited for.
    """
    end = time.monotonic() + within
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() >= end:
            message = what if isinstance(what, str) else what()
            raise AssertionError(f"no {message} within {within:g} s; the last answer was {answer!r}")
        time.sleep(every)
