"""Stored facts: every release's format is read, and a newer release's values stop nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from services.classifier.adapters.facts_json import from_json, to_json
from services.classifier.domain.outcomes import ChosenBy, Epoch, ReturnReason
from tests.unit.classifier.stored import FACTS

GOLDEN = Path(__file__).parent / "golden"


def golden(version: str) -> Any:
    return json.loads((GOLDEN / version / "facts.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("version", ["v0", "v1"])
def test_what_a_release_wrote_is_read(version: str) -> None:
    assert from_json(golden(version), None, None) == FACTS


def test_what_is_written_is_the_golden_file_of_the_present_format() -> None:
    assert to_json(FACTS) == golden("v1")


def test_parts_of_a_newer_release_are_written_back_as_they_are() -> None:
    newer = {**golden("v1"), "merged": True}

    assert to_json(from_json(newer, None, None)) == newer


def test_enum_values_of_a_newer_release_teach_nothing() -> None:
    newer = {**golden("v1"), "assignments": {"1": ["jjxxw", "lottery", None]}, "returns": {"1": "no_capacity"}}

    facts = from_json(newer, None, None)

    assert facts.assignments[Epoch(1)].chosen_by is ChosenBy.NOBODY
    assert facts.returns == {Epoch(1): ReturnReason.NOT_THE_CLASS}
