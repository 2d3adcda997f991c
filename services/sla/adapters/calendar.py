"""The file of the State Council's notices, followed while the service runs."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from typing import TYPE_CHECKING, Any

import structlog

from services.sla.domain.calendar import CalendarVersion, Notice, Span, WorkdayCalendar
from services.sla.domain.errors import InvalidNotice, SlaError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from services.sla.domain.promise import Rules

log = structlog.get_logger()


class NoticesUnreadable(SlaError):
    """The file of notices is missing, or is not what it must be.

    Attributes:
        path: The file.
        problem: What is wrong.
    """

    text_is_public = True

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


def read_notices(path: Path) -> WorkdayCalendar:
    """Read a calendar from a file of notices.

        {"2026": {"off": [["2026-01-01", "2026-01-03"], …], "make_up_workdays": ["2026-01-04", …]}, …}

    Its version is the hash of what the file says, not of how it is laid out.

    Raises:
        NoticesUnreadable: There is no such file, or it is not of that form, or a notice cannot be meant.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        notices = [_notice(year, body) for year, body in content.items()]
    except OSError as error:
        raise NoticesUnreadable(path, error.strerror or type(error).__name__) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise NoticesUnreadable(path, f"not of the form of a file of notices: {error}") from error
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    version = CalendarVersion(hashlib.sha256(canonical.encode()).hexdigest()[:16])
    try:
        return WorkdayCalendar(notices, version=version)
    except InvalidNotice as error:
        raise NoticesUnreadable(path, str(error)) from error


def _notice(year: str, body: Any) -> Notice:  # noqa: ANN401 - as the file has it
    return Notice(
        year=int(year),
        off=tuple(Span(date.fromisoformat(first), date.fromisoformat(last)) for first, last in body["off"]),
        make_up_workdays=tuple(date.fromisoformat(day) for day in body["make_up_workdays"]),
    )


class FollowedRules:
    """The rules in force: settings and the calendar of a file that may be replaced at any time."""

    def __init__(self, path: Path, make_rules: Callable[[WorkdayCalendar], Rules]) -> None:
        """Read the file.

        Raises:
            NoticesUnreadable: It cannot be used.
        """
        self._path = path
        self._make_rules = make_rules
        self._rules = make_rules(read_notices(path))

    def current(self) -> Rules:
        """Return the rules in force."""
        return self._rules

    def follow(self) -> None:
        """Take up the file if it says something new. One that cannot be used is logged, and the calendar at hand stays in force."""
        try:
            calendar = read_notices(self._path)
        except NoticesUnreadable as error:
            log.error("notices_unreadable", path=str(error.path), problem=error.problem)  # noqa: TRY400 - says it all
            return
        if calendar.version != self._rules.calendar_version:
            log.info("calendar_replaced", version=calendar.version, replaced=self._rules.calendar_version)
            self._rules = self._make_rules(calendar)
