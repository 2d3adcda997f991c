"""Stored facts: every release's format is read, and a newer release's values are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chassis.stored import known
from services.sla.adapters.events import deadline_message
from services.sla.adapters.facts_json import from_json, to_json
from services.sla.domain.deadline import Deadline, TicketDeadlines, TicketId
from services.sla.domain.facts import SUBMISSION
from services.sla.domain.promise import Kind
from services.sla.domain.replay import State
from tests.unit.sla.builders import rules
from tests.unit.sla.stored import FACTS

GOLDEN = Path(__file__).parent / "golden"


def golden(version: str) -> Any:
    return json.loads((GOLDEN / version / "facts.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("version", ["v0", "v1"])
def test_what_a_release_wrote_is_read(version: str) -> None:
    assert from_json(golden(version), FACTS.portal) == FACTS


def test_what_is_written_is_the_golden_file_of_the_present_format() -> None:
    assert to_json(FACTS) == golden("v1")


def test_parts_of_a_newer_release_are_written_back_as_they_are() -> None:
    newer = {**golden("v1"), "merges": [["t-2", "2026-11-23T04:00:00+00:00"]]}

    assert to_json(from_json(newer, None)) == newer


def test_a_deadline_in_a_state_of_a_newer_release_is_left_to_that_release() -> None:
    start = FACTS.starts[SUBMISSION]
    frozen = Deadline(ticket_id=TicketId("t"), kind=Kind.RESOLUTION, cycle=SUBMISSION, state=known(State, "frozen"), start_time=start)
    ticket = TicketDeadlines(TicketId("t"), deadlines=[frozen])
    ticket.started(SUBMISSION, start)

    changes = [each for each in ticket.settle(rules(), start) if each.deadline.kind is Kind.RESOLUTION]

    assert changes == ticket.tick(rules(), known_until=start, now=start) == []
    assert frozen in ticket.deadlines
    assert frozen.tally is None
    assert deadline_message(frozen).state == 0
