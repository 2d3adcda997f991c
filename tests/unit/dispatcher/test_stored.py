"""Stored JSON: every release's format is read, and a newer release's values stop nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from services.dispatcher.adapters import stored
from services.dispatcher.domain.commands import UnknownCommand
from services.dispatcher.domain.dispatch import Dispatch
from services.dispatcher.domain.values import AbstainReason, DeadlineChange, DistrictSource, Method, TriageReason
from tests.unit.dispatcher.builders import NOON, POLICY, TICKET_ID, ticket
from tests.unit.dispatcher.stored import STORED

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.dispatcher.adapters.stored import Codec

GOLDEN = Path(__file__).parent / "golden"
ENUMS = {member.value for kind in (AbstainReason, DeadlineChange, DistrictSource, Method, TriageReason) for member in kind}
NAMES = sorted(STORED)


def codec(name: str) -> Codec[Any]:
    found: Codec[Any] = getattr(stored, name.partition("_")[0].upper())
    return found


def golden(version: str, name: str) -> Any:
    return json.loads((GOLDEN / version / f"{name}.json").read_text(encoding="utf-8"))


def changed(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return JSON with `change` done to every part, the innermost first."""
    if isinstance(value, dict):
        return change({name: changed(part, change) for name, part in value.items()})
    if isinstance(value, list):
        return change([changed(part, change) for part in value])
    return change(value)


def test_every_value_has_a_golden_file_of_every_format_and_no_file_is_left_over() -> None:
    for version in ("v0", "v1"):
        assert sorted(path.stem for path in (GOLDEN / version).glob("*.json")) == NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("version", ["v0", "v1"])
def test_what_a_release_wrote_is_read(version: str, name: str) -> None:
    assert codec(name).loads(golden(version, name)) == STORED[name]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_the_golden_file_of_the_present_format(name: str) -> None:
    written = codec(name).dumps(STORED[name])

    assert written is not None
    assert json.loads(written) == golden("v1", name)


@pytest.mark.parametrize("name", NAMES)
def test_the_present_format_is_the_one_of_the_release_before_with_fields_that_it_passes_over(name: str) -> None:
    def without_new_fields(part: Any) -> Any:
        return {key: value for key, value in part.items() if key not in {"v", "cycle"}} if isinstance(part, dict) else part

    assert changed(golden("v1", name), without_new_fields) == golden("v0", name)


@pytest.mark.parametrize("name", NAMES)
def test_fields_of_a_newer_release_are_ignored(name: str) -> None:
    newer = changed(golden("v1", name), lambda part: {**part, "merged_into": {"v": 9}} if isinstance(part, dict) else part)

    assert codec(name).loads(newer) == STORED[name]


@pytest.mark.parametrize("name", NAMES)
def test_enum_values_of_a_newer_release_are_read_and_written_back_as_they_are(name: str) -> None:
    newer = changed(golden("v1", name), lambda part: "OF_A_NEWER_RELEASE" if isinstance(part, str) and part in ENUMS else part)

    read = codec(name).loads(newer)

    written = codec(name).dumps(read)
    assert written is not None
    assert json.loads(written) == newer


def test_an_unknown_value_is_no_member_and_is_logged_once() -> None:
    with structlog.testing.capture_logs() as logs:
        found = [stored.known(Method, "BY_LOTTERY") for _ in range(3)]

    assert found == ["BY_LOTTERY"] * 3
    assert not [method for method in Method if method == found[0]]
    assert [entry["event"] for entry in logs] == ["stored_value_unknown"]


@pytest.mark.parametrize(
    "newer",
    [
        ["MergeTicket", {"v": 1, "ticket_id": TICKET_ID}],
        ["WithdrawTicket", {"v": 2}],
        ["NoteDeadline", {"change": "FROZEN", "due_time": None}],
    ],
    ids=["kind", "fields", "change"],
)
def test_an_early_command_of_a_newer_release_stays_and_the_others_are_carried_out(newer: list[Any]) -> None:
    early = stored.EARLY.read([newer, *golden("v1", "early")])
    dispatch = Dispatch(ticket_id=TICKET_ID, early=early)

    due = dispatch.submit(ticket(), now=NOON, policy=POLICY)

    assert due == STORED["early"]
    assert dispatch.early == (UnknownCommand(kind=newer[0], body=newer[1]),)
    assert json.loads(stored.EARLY.dumps(dispatch.early) or b"") == [newer]
