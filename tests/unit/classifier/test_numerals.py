from __future__ import annotations

from decimal import Decimal

import pytest

from services.classifier.domain.numerals import parse


@pytest.mark.parametrize(
    ("spelled", "number"),
    [
        ("86万", "860000"),
        ("八十六万", "860000"),
        ("1,200.5", "1200.5"),
        ("0.8亿", "80000000"),
        ("贰拾万", "200000"),
        ("三千六", "3600"),
        ("两万半", "25000"),
        ("一亿两千万", "120000000"),
        ("12亿3000万", "1230000000"),
        ("十五", "15"),
        ("三点五", "3.5"),
        ("五百零六", "506"),
        ("一百零五万", "1050000"),
    ],
)
def test_numbers_are_read_in_all_spellings(spelled: str, number: str) -> None:
    assert parse(spelled) == Decimal(number)


@pytest.mark.parametrize("spelled", ["万", "几万", "abc"])
def test_what_spells_no_number_gives_none(spelled: str) -> None:
    assert parse(spelled) is None
