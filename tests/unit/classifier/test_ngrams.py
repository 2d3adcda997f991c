from __future__ import annotations

import numpy as np

from services.classifier.adapters.ngrams import grams, spelled
from services.classifier.domain.text import normalise


def of(text: str, longest: int = 2) -> list[str]:
    return [spelled(int(key)) for key in grams([normalise(text)], longest).keys]


def test_a_text_is_framed_so_that_its_ends_have_n_grams_of_their_own() -> None:
    assert of("停电了") == ["停", "电", "了", "^停", "停电", "电了", "了^"]


def test_no_n_gram_crosses_from_text_to_text() -> None:
    found = grams(["停电", "欠款"], 3)

    assert "电欠" not in {spelled(int(key)) for key in found.keys}
    assert {int(text) for text in found.texts} == {0, 1}


def test_digits_punctuation_and_repetitions_make_no_difference() -> None:
    assert of("2000平!!!好好好好好", 3) == of("7平，好好好", 3)


def test_characters_that_say_nothing_do_not_part_words() -> None:
    assert of("停\u200b电") == of("停电")


def test_an_n_gram_knows_where_it_stands() -> None:
    found = grams([normalise("停\u200b电1000次")], 2)

    places = {spelled(int(key)): (int(s), int(e)) for key, s, e in zip(found.keys, found.starts, found.ends, strict=True)}

    assert places["停电"] == (0, 3)
    assert places["#次"] == (3, 8)


def test_texts_of_all_lengths_can_stand_together() -> None:
    found = grams(["", "电", "停电" * 2_500, "😀"], 3)

    assert np.all(found.ends - found.starts >= 1)
    assert set(found.texts.tolist()) == {0, 1, 2, 3}
