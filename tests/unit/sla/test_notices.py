from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from services.sla.adapters.calendar import FollowedRules, NoticesUnreadable, read_notices
from services.sla.domain.calendar import DayKind
from tests.unit.sla.builders import NOTICES, rules

if TYPE_CHECKING:
    from pathlib import Path

NEXT_YEAR = {"2027": {"off": [["2027-01-01", "2027-01-03"]], "make_up_workdays": ["2027-01-09"]}}


@pytest.fixture
def notices(tmp_path: Path) -> Path:
    path = tmp_path / "notices.json"
    path.write_text(NOTICES.read_text("utf-8"), "utf-8")
    return path


def add_next_year(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | NEXT_YEAR), "utf-8")


def test_the_catalogues_notices_are_read() -> None:
    calendar = read_notices(NOTICES)

    assert calendar.kind(date(2026, 2, 14)) is DayKind.MAKE_UP_WORKDAY
    assert calendar.end == date(2027, 1, 1)


def test_the_version_follows_what_the_notices_say_and_not_how_they_are_laid_out(notices: Path) -> None:
    before = read_notices(notices).version
    notices.write_text(json.dumps(json.loads(notices.read_text("utf-8")), indent=4, sort_keys=True), "utf-8")
    laid_out_anew = read_notices(notices).version
    add_next_year(notices)

    assert laid_out_anew == before
    assert read_notices(notices).version != before


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"2026": []}',
        '{"2026": {"off": [["2026-01-01"]], "make_up_workdays": []}}',
        '{"2026": {"off": [["2026-13-01", "2026-13-02"]], "make_up_workdays": []}}',
        '{"2026": {"off": [["2026-01-01", "2026-01-01"]]}}',
        '{"soon": {"off": [["2026-01-01", "2026-01-01"]], "make_up_workdays": []}}',
        '{"2026": {"off": [], "make_up_workdays": []}}',
    ],
)
def test_a_file_that_is_no_file_of_notices_is_refused(notices: Path, content: str) -> None:
    notices.write_text(content, "utf-8")

    with pytest.raises(NoticesUnreadable) as unreadable:
        read_notices(notices)

    assert unreadable.value.path == notices


def test_without_a_file_the_service_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(NoticesUnreadable, match="No such file"):
        FollowedRules(tmp_path / "missing.json", rules)


def test_a_new_notice_is_taken_up_while_the_service_runs(notices: Path) -> None:
    followed = FollowedRules(notices, rules)
    before = followed.current()

    add_next_year(notices)
    followed.follow()

    assert not before.resolution.clock.calendar.knows(2027)
    assert followed.current().resolution.clock.calendar.knows(2027)


def test_an_unchanged_file_changes_nothing(notices: Path) -> None:
    followed = FollowedRules(notices, rules)
    before = followed.current()

    followed.follow()

    assert followed.current() is before


def test_a_damaged_file_is_told_of_and_the_calendar_at_hand_stays(notices: Path) -> None:
    followed = FollowedRules(notices, rules)
    before = followed.current()

    notices.write_text("{", "utf-8")
    with capture_logs() as logs:
        followed.follow()

    assert followed.current() is before
    assert [(each["event"], each["log_level"]) for each in logs] == [("notices_unreadable", "error")]
