"""Ticket numbers for people: readable, and a slip of the tongue is noticed."""

from __future__ import annotations

from datetime import date

import pytest

from services.intake.domain.number import _check_character, is_number, make_number
from services.intake.domain.types import DistrictCode

DAY = date(2026, 11, 23)
YUBEI = DistrictCode("500112")
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
NUMBER = make_number(DAY, YUBEI, 42)


def test_a_number_names_day_district_and_sequence_and_ends_in_a_check_character() -> None:
    assert NUMBER[:-1] == "20261123-500112-000042-"
    assert NUMBER[-1] in ALPHABET
    assert is_number(NUMBER)


def test_without_a_district_it_carries_zeros() -> None:
    assert make_number(DAY, DistrictCode(""), 1).startswith("20261123-000000-000001-")


def test_a_sequence_past_a_million_only_makes_it_longer() -> None:
    number = make_number(DAY, YUBEI, 1_234_567)

    assert number.split("-")[2] == "1234567"
    assert is_number(number)


def test_the_check_character_is_that_of_iso_7064_mod_37_36() -> None:
    # The example of the GRid standard, which uses the same system: A1-2425G-ABC1234002-M.
    assert _check_character("A12425GABC1234002") == "M"


PLACES = [place for place, character in enumerate(NUMBER) if character != "-"]


@pytest.mark.parametrize("place", PLACES)
def test_every_change_of_one_character_is_noticed_at_every_place(place: int) -> None:
    changed = [NUMBER[:place] + other + NUMBER[place + 1 :] for other in ALPHABET if other != NUMBER[place]]

    assert [number for number in changed if is_number(number)] == []


@pytest.mark.parametrize("number", [make_number(DAY, YUBEI, sequence) for sequence in (42, 19, 907_856, 135_790)])
def test_every_change_of_places_of_two_neighbours_is_noticed(number: str) -> None:
    swapped = [
        number[:place] + number[place + 1] + number[place] + number[place + 2 :]
        for place in range(len(number) - 1)
        if "-" not in number[place : place + 2] and number[place] != number[place + 1]
    ]

    assert swapped
    assert [each for each in swapped if is_number(each)] == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "---",
        "----",
        "20261123-500112-000042",
        NUMBER.lower(),
        NUMBER.replace("-", ""),
        f" {NUMBER}",
        f"{NUMBER}-",
        "工单-工单-工单-工",
    ],
)
def test_what_has_another_form_is_no_number(text: str) -> None:
    assert not is_number(text)


def test_the_id_of_a_ticket_is_never_taken_for_a_number() -> None:
    assert not is_number("0193a1b2-0000-7000-8000-000000000001")
