"""Whatever is sent gets an answer, and what the answer says about the text is true of the text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.classifier.application.answering import answers
from services.classifier.domain.districts import DistrictFinder
from services.classifier.domain.numerals import parse
from services.classifier.domain.slots import find_slots
from services.classifier.domain.text import MAX_CHARACTERS, canonical, normalise
from tests.unit.classifier.builders import LABELS, district_names, recogniser, some_examples

ANY_TEXT = st.text(st.characters(), max_size=300)
CHINESE_TEXT = st.text(
    st.one_of(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), st.sampled_from("0123456789万亿元年月日号平方米亩()-. ,")),
    max_size=200,
)
REQUESTS = st.sampled_from([example.text for example in some_examples()])
TEXTS = st.one_of(ANY_TEXT, CHINESE_TEXT, REQUESTS, st.tuples(REQUESTS, ANY_TEXT).map("".join))


@given(TEXTS)
def test_normalised_text_keeps_every_position_and_is_stable(text: str) -> None:
    uniform = normalise(text)

    assert len(uniform) == min(len(text), MAX_CHARACTERS)
    assert normalise(uniform.replace("\0", "")) == uniform.replace("\0", "")


@given(st.characters())
def test_every_character_has_exactly_one_in_its_place(character: str) -> None:
    assert len(canonical(character)) == 1


@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_whatever_is_asked_an_answer_a_text_comes_back_and_is_consistent(texts: list[str]) -> None:
    given_answers = answers(recogniser(), texts, len(LABELS))

    assert len(given_answers) == len(texts)
    for text, answer in zip(texts, given_answers, strict=True):
        probabilities = [each.probability for each in answer.classes]
        assert {each.code for each in answer.classes} == set(LABELS)
        assert sum(probabilities) == pytest.approx(1)
        assert all(0 <= probability <= 1 for probability in probabilities)
        assert probabilities == sorted(probabilities, reverse=True)
        assert answer.issues[0] == answer.classes[0].code
        assert len(set(answer.issues)) == len(answer.issues)
        assert len(answer.evidence) <= 5
        _assert_apart_and_inside([(span.start, span.end) for span in answer.evidence], text)
        _assert_apart_and_inside([(slot.start, slot.end) for slot in answer.slots], text)


def _assert_apart_and_inside(spans: list[tuple[int, int]], text: str) -> None:
    end_before = 0
    for start, end in spans:
        assert end_before <= start < end <= len(text)
        end_before = end


@given(CHINESE_TEXT)
def test_values_found_have_a_value(text: str) -> None:
    assert all(slot.value and slot.key for slot in find_slots(normalise(text)))


@given(st.text("0123456789零〇一二三四五六七八九两十百千万亿半点,.", max_size=30))
def test_no_spelling_breaks_the_reading_of_numbers(text: str) -> None:
    number = parse(text)

    assert number is None or number >= 0


@given(st.integers(min_value=0, max_value=10**12))
def test_plain_digits_are_read_as_they_stand(number: int) -> None:
    assert parse(str(number)) == number
    assert parse(f"{number:,}") == number


@given(TEXTS)
def test_a_district_that_is_found_is_one_of_the_catalogue(text: str) -> None:
    district = DistrictFinder(district_names()).find(normalise(text))

    assert district is None or district in district_names().values()


def test_characters_that_cannot_be_seen_change_no_answer() -> None:
    plain, hidden = answers(recogniser(), ["这周停电三次,生产线报废", "这\u200b周停\x00电三\ufeff次,生产\u202e线报废"], 5)

    assert hidden.classes == plain.classes
