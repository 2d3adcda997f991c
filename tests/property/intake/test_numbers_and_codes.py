"""Check characters find what people do to numbers, for any number."""

from __future__ import annotations

from datetime import date

from hypothesis import assume, given
from hypothesis import strategies as st

from services.intake.domain.errors import InvalidFields
from services.intake.domain.fields import FieldChecks
from services.intake.domain.number import is_number, make_number
from services.intake.domain.types import DistrictCode
from services.intake.domain.uscc import InvalidUscc, parse_uscc
from tests.unit.intake.builders import some_uscc

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
numbers = st.builds(
    make_number,
    st.dates(min_value=date(2026, 1, 1), max_value=date(2099, 12, 31)),
    st.integers(min_value=0, max_value=999_999).map(lambda n: DistrictCode(f"{n:06d}")),
    st.integers(min_value=1, max_value=10_000_000),
)
codes = st.integers(min_value=0, max_value=10**9).map(some_uscc)


@given(numbers)
def test_a_number_that_was_made_is_one(number: str) -> None:
    assert is_number(number)


@given(numbers, st.data())
def test_one_wrong_character_is_noticed(number: str, data: st.DataObject) -> None:
    place = data.draw(st.sampled_from([i for i, character in enumerate(number) if character != "-"]))
    other = data.draw(st.sampled_from([character for character in ALPHABET if character != number[place]]))

    assert not is_number(number[:place] + other + number[place + 1 :])


def test_two_neighbours_that_changed_places_are_nearly_always_noticed() -> None:
    day = date(2026, 11, 23)
    swaps = noticed = 0

    for sequence in range(1, 2000, 7):
        digits = make_number(day, DistrictCode("500107"), sequence).replace("-", "")
        for n in range(len(digits) - 1):
            if digits[n] != digits[n + 1]:
                swapped = digits[:n] + digits[n + 1] + digits[n] + digits[n + 2 :]
                swaps += 1
                noticed += not is_number(f"{swapped[:8]}-{swapped[8:14]}-{swapped[14:20]}-{swapped[20:]}")

    assert noticed / swaps > 0.97


@given(st.text(max_size=40))
def test_no_text_breaks_the_check_of_a_number(text: str) -> None:
    assert is_number(text) in {True, False}


@given(codes, st.data())
def test_one_wrong_character_of_a_credit_code_is_noticed(code: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(min_value=0, max_value=17))
    other = data.draw(st.characters())
    assume(other.upper() != code[place])
    spoiled = code[:place] + other + code[place + 1 :]

    try:
        found = parse_uscc(spoiled)
    except InvalidUscc:
        return
    assert found == code


@given(st.text(max_size=30))
def test_no_text_breaks_the_check_of_a_credit_code(text: str) -> None:
    try:
        found = parse_uscc(text)
    except InvalidUscc:
        return
    assert found == text.strip().upper()
    assert len(found) == 18


@given(st.text(alphabet=st.characters(exclude_categories=[]), max_size=60))
def test_text_that_is_taken_can_be_stored_and_sent(text: str) -> None:
    checks = FieldChecks()
    cleaned = checks.text("text", text, most=50)
    try:
        checks.done()
    except InvalidFields:
        return

    assert 0 < len(cleaned) <= 50
    assert "\x00" not in cleaned
    assert cleaned.encode().decode() == cleaned
    assert cleaned == cleaned.strip()
