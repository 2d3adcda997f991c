"""Unified social credit codes are checked by both of their check characters."""

from __future__ import annotations

import pytest

from services.intake.domain.uscc import InvalidUscc, check_character, organisation_check_character, parse_uscc, registration_district
from tests.unit.intake.builders import VALID_USCC, some_uscc

ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"


def test_a_code_whose_two_check_characters_hold_is_taken() -> None:
    assert parse_uscc("91350100M000100Y43") == "91350100M000100Y43"


def test_blanks_around_a_code_and_small_letters_are_forgiven() -> None:
    assert parse_uscc("  91350100m000100y43\n") == VALID_USCC


def test_invisible_marks_that_copying_brings_along_are_forgiven() -> None:
    assert parse_uscc("\u202d91350100\u200bM000100Y43\u202c\ufeff") == VALID_USCC


def test_the_code_that_is_often_quoted_is_refused() -> None:
    with pytest.raises(InvalidUscc, match="check character 17 is 6, should be 4"):
        parse_uscc("91310115MA1H8R7C6D")

    assert check_character("91310115MA1H8R7C6") == "7"


def test_a_wrong_last_character_is_named_beside_the_right_one() -> None:
    with pytest.raises(InvalidUscc, match="check character 18 is D, should be 3"):
        parse_uscc("91350100M000100Y4D")


@pytest.mark.parametrize("length", [0, 1, 15, 17, 19, 5000])
def test_a_code_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(InvalidUscc, match=f"has {length} characters, must have 18"):
        parse_uscc("9" * length)


@pytest.mark.parametrize("letter", ["I", "O", "S", "V", "Z", "-", "\x00", "中", "９"])
def test_a_character_outside_the_alphabet_is_refused_by_its_place(letter: str) -> None:
    spoiled = VALID_USCC[:8] + letter + VALID_USCC[9:]

    with pytest.raises(InvalidUscc, match="character 9 is"):
        parse_uscc(spoiled)


@pytest.mark.parametrize("position", range(18))
def test_every_change_of_one_character_is_noticed_at_every_position(position: int) -> None:
    others = [character for character in ALPHABET if character != VALID_USCC[position]]

    taken = [other for other in others if _is_valid(VALID_USCC[:position] + other + VALID_USCC[position + 1 :])]

    assert taken == []


def test_a_letter_in_the_district_is_refused_even_if_the_check_characters_hold() -> None:
    body = "91A50100M000100Y4"
    code = body + check_character(body)

    with pytest.raises(InvalidUscc, match="character 3 is 'A'; a digit"):
        parse_uscc(code)


def test_the_organisation_code_is_checked_even_if_the_last_character_holds() -> None:
    body = "91350100M000100Y5"
    code = body + check_character(body)

    with pytest.raises(InvalidUscc, match="check character 17 is 5, should be 4"):
        parse_uscc(code)


@pytest.mark.parametrize(("organisation", "check"), [("M000100Y", "4"), ("00000000", "0"), ("D2143569", "X")])
def test_the_organisation_check_character_is_that_of_the_standard(organisation: str, check: str) -> None:
    assert organisation_check_character(organisation) == check


def test_the_district_of_registration_is_positions_three_to_eight() -> None:
    assert registration_district(VALID_USCC) == "350100"


@pytest.mark.parametrize("seed", range(50))
def test_codes_made_for_tests_are_valid(seed: int) -> None:
    assert parse_uscc(some_uscc(seed)) == some_uscc(seed)


def _is_valid(code: str) -> bool:
    try:
        parse_uscc(code)
    except InvalidUscc:
        return False
    return True
