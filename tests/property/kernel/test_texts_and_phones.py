"""Texts and phone numbers: any input is normalised to a stable form, or refused with a position."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kernel.phone import MAX_STORED, InvalidPhone, normalise_phone
from kernel.text import FULL_WIDTH, check_text, clean_text

anything = st.text(alphabet=st.characters(exclude_categories=[]), max_size=60)
WORDS = (
    "023 6700 1234 13800001111 +86 0086 805 - － — ( ) （ ） 转 分机 ext. # x / 、 ， ； 或 电话： 手机 tel: 王 "
    "0 1 2 3 4 5 6 7 8 9 ０ １ ２ ３ ４ ５ ６ ７ ８ ９"
)
blocks = st.sampled_from([*WORDS.split(" "), " ", "\u3000", "\u200b", "\u202d", "\ufeff", "\x0b", "\n"])
near_phones = st.lists(blocks, max_size=14).map("".join)


@given(anything)
def test_a_clean_text_stays_as_it_is(text: str) -> None:
    cleaned = clean_text(text)

    assert clean_text(cleaned) == cleaned
    assert len(cleaned) <= len(text)


@given(anything)
def test_a_text_without_problems_can_be_stored_and_has_none_the_second_time(text: str) -> None:
    cleaned, problems = check_text(text, most=50)
    if problems:
        return

    assert check_text(cleaned, most=50) == (cleaned, [])
    assert cleaned.strip() == cleaned
    assert cleaned.encode().decode() == cleaned
    assert not re.search("[\x00\x0b\x0c\x85\u2028\u2029\u200e\u200f]", cleaned)


@given(anything, st.integers(0, 60), st.sampled_from("\x00\x1b\u202e\u200e\x9f"))
def test_the_first_forbidden_character_is_the_one_that_is_named(text: str, at: int, mark: str) -> None:
    _, before = check_text(text[:at], most=100, required=False)
    _, problems = check_text(text[:at] + mark + text[at:], most=100, required=False)

    assert before or problems == [f"holds the character U+{ord(mark):04X} at position {len(text[:at]) + 1}, which is not allowed"]


@given(anything | near_phones)
@example("023-67001234（转805）/电话：＋８６ 138\u200b00001111")
def test_a_normal_phone_entry_stays_as_it_is_and_its_digits_are_those_that_were_sent(text: str) -> None:
    try:
        normal = normalise_phone(text)
    except InvalidPhone:
        return

    assert normalise_phone(normal) == normal
    assert re.sub("[^0-9]", "", normal) == re.sub("[^0-9]", "", text.translate(FULL_WIDTH))
    assert re.fullmatch("[0-9 ()+/转-]{5,}", normal)
    assert len(normal) <= MAX_STORED


@given(anything | near_phones, st.integers(0, 60))
def test_no_phone_entry_with_nul_is_taken(text: str, at: int) -> None:
    with pytest.raises(InvalidPhone):
        normalise_phone(text[:at] + "\x00" + text[at:])
