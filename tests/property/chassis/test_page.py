"""Page tokens give back what was put in, to those filters alone, and break on nothing."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chassis.page import InvalidPageToken, decode_token, encode_token

words = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30)
storable = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30)
positions = st.lists(storable, max_size=4)
filters = st.dictionaries(words, st.none() | words | st.integers() | st.lists(words, max_size=3), max_size=4)


@given(filters, positions)
def test_a_token_gives_back_its_position(wanted: dict[str, object], position: list[str]) -> None:
    assert decode_token(wanted, encode_token(wanted, position)) == tuple(position)


@given(filters, filters, positions)
def test_a_token_is_good_for_its_own_filters_alone(wanted: dict[str, object], other: dict[str, object], position: list[str]) -> None:
    assume(wanted != other)

    with pytest.raises(InvalidPageToken):
        decode_token(other, encode_token(wanted, position))


@given(st.text(alphabet=st.characters(exclude_categories=[]), min_size=1, max_size=200))
def test_no_text_breaks_it(token: str) -> None:
    try:
        decode_token({}, token)
    except InvalidPageToken:
        return
    pytest.fail("a token that nobody gave out was taken")


@given(positions, st.data())
def test_a_token_that_was_changed_gives_another_position_at_most(position: list[str], data: st.DataObject) -> None:
    token = encode_token({"a": 1}, position)
    place = data.draw(st.integers(min_value=0, max_value=len(token) - 1))
    other = data.draw(st.sampled_from("ABCxyz019-_"))

    try:
        found = decode_token({"a": 1}, token[:place] + other + token[place + 1 :])
    except InvalidPageToken:
        return
    assert found is not None
    assert all(isinstance(part, str) for part in found)
