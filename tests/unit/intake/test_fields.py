"""Fields of requests: every problem is named, and what a screen or a database would take amiss is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.intake.adapters.districts import CatalogueUnusable, load_districts
from services.intake.domain.errors import InvalidFields
from services.intake.domain.fields import FieldChecks, is_reference
from tests.unit.intake.builders import VALID_USCC

DISTRICTS = load_districts(Path(__file__).parents[3] / "catalogue")


def problems(checks: FieldChecks) -> dict[str, str]:
    with pytest.raises(InvalidFields) as caught:
        checks.done()
    return {problem.field: problem.description for problem in caught.value.problems}


def text_problem(value: str, *, most: int = 10, required: bool = True) -> str | None:
    checks = FieldChecks()
    checks.text("text", value, most=most, required=required)
    try:
        checks.done()
    except InvalidFields as error:
        return error.problems[0].description
    return None


def test_good_fields_come_back_cleaned() -> None:
    checks = FieldChecks()

    cleaned = (
        checks.text("text", "  两行\n文字\t \r\n", most=10),
        checks.phone("phone", " +86 (023) 6789-0000 "),
        checks.uscc("uscc", f" {VALID_USCC.lower()} "),
        checks.district("district", ""),
        checks.district("district", "500107"),
        checks.request_id("request_id", "A-z_0.9:"),
        checks.score("score", 1),
        checks.attachments("refs", [" a ", "b"]),
        checks.reference("ticket_id", "20261123-500107-000042-K"),
    )
    checks.done()

    assert cleaned == (
        "两行\n文字",
        "+86 (023) 6789-0000",
        VALID_USCC,
        "",
        "500107",
        "A-z_0.9:",
        1,
        ("a", "b"),
        "20261123-500107-000042-K",
    )


def test_everything_that_is_wrong_is_told_at_once_and_in_order() -> None:
    checks = FieldChecks()

    checks.request_id("request_id", "")
    checks.uscc("uscc", "1")
    checks.text("text", "", most=5)
    checks.phone("phone", "12")
    checks.district("district", "50")
    checks.score("score", 0)
    checks.reference("ticket_id", "")
    checks.note("channel", "is missing")

    assert list(problems(checks)) == ["request_id", "uscc", "text", "phone", "district", "score", "ticket_id", "channel"]


@pytest.mark.parametrize("value", ["", " ", "\n\t\r", "\u3000", "\u00a0", "\u200b", "\ufeff\u2060 \u200d"])
def test_text_of_nothing_that_can_be_seen_is_empty(value: str) -> None:
    assert text_problem(value) == "must not be empty"
    assert text_problem(value, required=False) is None


def test_length_is_counted_in_characters_after_trimming() -> None:
    assert text_problem(" " + "长" * 10 + " ") is None
    assert text_problem("😀" * 10) is None
    assert text_problem("长" * 11) == "has 11 characters, at most 10 are allowed"


@pytest.mark.parametrize("character", [chr(code) for code in (*range(0x09), *range(0x0E, 0x20), *range(0x7F, 0x85), *range(0x86, 0xA0))])
def test_control_characters_are_refused_and_named_with_their_place(character: str) -> None:
    assert text_problem(f"a{character}b") == f"holds the character U+{ord(character):04X} at position 2, which is not allowed"


@pytest.mark.parametrize("character", ["\x0b", "\x0c", "\x85", "\u2028", "\u2029"])
def test_line_separators_of_other_systems_are_taken_as_line_breaks(character: str) -> None:
    checks = FieldChecks()

    cleaned = checks.text("text", f"{character}a{character}b{character}", most=10)
    checks.done()

    assert cleaned == "a\nb"


@pytest.mark.parametrize("character", list("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"))
def test_what_turns_the_direction_of_writing_is_refused(character: str) -> None:
    assert text_problem(f"a{character}b") == f"holds the character U+{ord(character):04X} at position 2, which is not allowed"


@pytest.mark.parametrize("code", [0xD800, 0xDBFF, 0xDC00, 0xDFFF])
def test_half_a_surrogate_pair_is_refused(code: int) -> None:
    assert text_problem(f"a{chr(code)}b") == f"holds the character U+{code:04X} at position 2, which is not allowed"


@pytest.mark.parametrize("character", ["\t", "\n", "\r", "😀", "𠮷", "é", "\u200d", "中", "\ufeff"])
def test_what_people_write_is_taken(character: str) -> None:
    assert text_problem(f"a{character}b") is None


def test_text_can_be_empty_too_long_and_bad_at_once() -> None:
    checks = FieldChecks()
    checks.text("text", "\x00" * 11, most=10)

    with pytest.raises(InvalidFields) as caught:
        checks.done()

    assert [problem.description for problem in caught.value.problems] == [
        "has 11 characters, at most 10 are allowed",
        "holds the character U+0000 at position 1, which is not allowed",
    ]


@pytest.mark.parametrize("value", ["", "a" * 65, "a b", "a/b", "中", "a\n", "\x00"])
def test_a_request_id_has_one_form(value: str) -> None:
    checks = FieldChecks()
    checks.request_id("request_id", value)

    assert set(problems(checks)) == {"request_id"}


@pytest.mark.parametrize("value", ["", "1234", "1" * 31, "call me", "12345\n6"])
def test_what_is_no_phone_number_is_refused(value: str) -> None:
    checks = FieldChecks()
    checks.phone("phone", value)

    assert set(problems(checks)) == {"phone"}


@pytest.mark.parametrize("value", ["5001", "5001077", "50010a", "５００１０７", " 500107"])
def test_a_district_has_six_digits(value: str) -> None:
    checks = FieldChecks()
    checks.district("district", value)

    assert set(problems(checks)) == {"district"}


@pytest.mark.parametrize("value", [-1, 0, 6, 2**31 - 1])
def test_a_score_is_one_to_five(value: int) -> None:
    checks = FieldChecks()
    checks.score("score", value)

    assert problems(checks) == {"score": f"is {value}, must be 1–5"}


def test_attachments_are_counted_and_each_is_checked() -> None:
    checks = FieldChecks()
    kept = checks.attachments("refs", ["", "x" * 501, *["ok"] * 500])

    assert len(kept) == 20
    assert set(problems(checks)) == {"refs", "refs[0]", "refs[1]"}


@pytest.mark.parametrize("value", ["", "a b", "a\x00", "%", "'", "x" * 65, "工单"])
def test_a_reference_is_letters_digits_and_dashes(value: str) -> None:
    assert not is_reference(value)


@pytest.mark.parametrize("value", ["500999", "000000", "510100"])
def test_a_district_that_the_catalogue_does_not_know_is_refused(value: str) -> None:
    checks = FieldChecks()

    checks.district("district_code", value, DISTRICTS)

    assert value in problems(checks)["district_code"]


@pytest.mark.parametrize("value", ["", "500107", "500105", "500112", "500171"])
def test_a_district_of_the_catalogue_is_taken_also_an_abolished_one(value: str) -> None:
    checks = FieldChecks()

    checks.district("district_code", value, DISTRICTS)

    checks.done()


def test_intake_does_not_start_without_districts(tmp_path: Path) -> None:
    with pytest.raises(CatalogueUnusable, match=r"districts\.csv"):
        load_districts(tmp_path)
