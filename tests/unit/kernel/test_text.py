"""One check of texts for every field and service, for RPCs and receipts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chassis.message import InvalidMessage
from kernel.text import check_text, clean_text, without_invisible
from services.dispatcher.adapters.receipts import read_receipt
from services.dispatcher.domain.commands import Accept, ReportProgress, Resolve
from services.dispatcher.domain.errors import InvalidFields as DispatcherRefuses
from services.dispatcher.domain.values import TicketId, UnitCode
from services.intake.domain.errors import InvalidFields as IntakeRefuses
from services.intake.domain.fields import FieldChecks

if TYPE_CHECKING:
    from collections.abc import Callable

UNIT, TICKET = UnitCode("jtysw"), TicketId("t-1")
MARKS = "\x00\x01\x0e\x1f\x7f\x9f\u061c\u200e\u200f\u202a\u202e\u2066\u2069"


def by_intake(value: str) -> str:
    checks = FieldChecks()
    cleaned = checks.text("note", value, most=1000)
    try:
        checks.done()
    except IntakeRefuses as error:
        return error.problems[0].description
    return cleaned


def by_dispatcher(value: str) -> str:
    try:
        return ReportProgress(unit=UNIT, ticket_id=TICKET, epoch=1, note=value).note
    except DispatcherRefuses as error:
        return error.violations[0][1]


def by_receipt(value: str) -> str:
    written = "".join(f"\\u{ord(character):04x}" for character in value)
    data = f'{{"ticketId": "t-1", "epoch": 1, "reportProgress": {{"note": "{written}"}}}}'.encode()
    try:
        command = read_receipt(UNIT, data)
    except InvalidMessage as error:
        return error.detail.removeprefix("note: ")
    assert isinstance(command, ReportProgress)
    return command.note


DOORS = pytest.mark.parametrize("door", [by_intake, by_dispatcher, by_receipt])


@DOORS
@pytest.mark.parametrize("mark", MARKS)
def test_every_door_refuses_the_same_characters_and_says_where(door: Callable[[str], str], mark: str) -> None:
    assert door(f"已修好{mark}了") == f"holds the character U+{ord(mark):04X} at position 4, which is not allowed"


@DOORS
@pytest.mark.parametrize("separator", "\x0b\x0c\x85\u2028\u2029")
def test_every_door_takes_line_separators_as_line_breaks(door: Callable[[str], str], separator: str) -> None:
    assert door(f"第一行{separator}第二行") == "第一行\n第二行"


@DOORS
def test_every_door_counts_and_requires_alike(door: Callable[[str], str]) -> None:
    assert door("长" * 1001) == "has 1001 characters, at most 1000 are allowed"
    assert door(" " + "长" * 1000 + "\u3000\ufeff") == "长" * 1000
    assert door(" \u200b\n") == "must not be empty"


@DOORS
@pytest.mark.parametrize("nothing", "\u3164\u115f\u1160\uffa0\u2800\u034f\ufe0f")
def test_letters_that_are_drawn_as_nothing_are_no_text(door: Callable[[str], str], nothing: str) -> None:
    assert door(nothing * 3) == "must not be empty"


@pytest.mark.parametrize("value", ["两行\r\n文字", "制表\t符", "👩‍🔧 𠮷", "é", "a\u200cb"])
def test_what_people_write_stays_as_it_is(value: str) -> None:
    assert check_text(value, most=100) == (value, [])


def test_clean_texts_are_kept_in_the_command() -> None:
    command = Resolve(unit=UNIT, ticket_id=TICKET, epoch=1, resolution=" 已办\x0b好 ", attachment_refs=("\ufeffa.pdf ",))

    assert (command.resolution, command.attachment_refs) == ("已办\n好", ("a.pdf",))


def test_a_code_that_cannot_be_printed_is_refused_with_its_place() -> None:
    with pytest.raises(DispatcherRefuses) as refused:
        Accept(unit=UNIT, ticket_id=TicketId("t-\u200b1"), epoch=1)

    assert refused.value.violations == (("ticket_id", "holds the character U+200B at position 3, which cannot be printed"),)


def test_a_text_without_anything_to_see_may_be_left_out() -> None:
    assert check_text(" \u200b", most=10, required=False) == ("", [])


def test_a_code_loses_the_marks_that_copying_brings_along() -> None:
    assert without_invisible("\u202d91\u200b350\u202c\ufeff") == "91350"


def test_only_the_ends_lose_their_blanks() -> None:
    assert clean_text("\u3000\u200b a \u200b b\u00a0\ufeff") == "a \u200b b"
