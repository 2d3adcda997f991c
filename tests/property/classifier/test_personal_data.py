"""Hiding personal data: every position stays, once is enough, and no mobile number survives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.classifier.domain.personal_data import without_personal_data


@given(st.text())
def test_hiding_keeps_every_position_and_hides_once(text: str) -> None:
    left = without_personal_data(text)

    assert len(left) == len(text)
    assert without_personal_data(left) == left


@given(st.text(max_size=10), st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True), st.text(max_size=10))
def test_no_mobile_number_survives(before: str, number: str, after: str) -> None:
    assert number not in without_personal_data(f"{before}{number}{after}")
