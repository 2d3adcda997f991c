"""What the data card promises about the corpus."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict

import pytest

from services.classifier.training import catalogue
from services.classifier.training.examples import Example, read_examples
from services.classifier.training.ontology import FOLDER, read_phrases
from services.classifier.training.run import CORPUS

EXAM = CORPUS.with_name("exam.jsonl")

VOICES = {"spoken", "dialect", "terse", "formal", "third_person", "angry", "polite", "multi_issue", "distractor", "own_words"}


@pytest.fixture(scope="module")
def corpus() -> list[Example]:
    return read_examples(sorted(CORPUS.glob("*.jsonl")))


@pytest.fixture(scope="module")
def codes() -> list[str]:
    return [str(each.code) for each in catalogue.read_classes(catalogue.DEFAULT)]


def test_every_class_has_enough_texts_and_other_many(corpus: list[Example], codes: list[str]) -> None:
    texts = Counter(example.label for example in corpus)

    assert set(texts) == set(codes)
    assert min(texts[code] for code in codes) >= 160
    assert texts["other"] >= 600


def test_seven_writers_wrote_of_every_class(corpus: list[Example]) -> None:
    writers = defaultdict(set)
    for example in corpus:
        writers[example.label].add(example.batch)

    assert all(hands == set("abcdefg") for hands in writers.values())


def test_every_class_comes_in_many_voices_and_sub_matters(corpus: list[Example]) -> None:
    voices, matters = defaultdict(set), defaultdict(set)
    for example in corpus:
        voices[example.label].add(example.style)
        matters[example.label].add(example.sub_matter)

    assert all(len(heard) >= 6 and heard <= VOICES for label, heard in voices.items() if label != "other")
    assert all(len(named) >= 8 for named in matters.values())


def test_no_text_occurs_twice(corpus: list[Example]) -> None:
    assert [text for text, times in Counter(example.text for example in corpus).items() if times > 1] == []


def test_alternatives_are_other_classes_of_the_catalogue(corpus: list[Example], codes: list[str]) -> None:
    assert all(set(example.alt) <= set(codes) - {example.label} for example in corpus)


def test_texts_are_clean(corpus: list[Example]) -> None:
    odd = [e.text for e in corpus if any(unicodedata.category(c).startswith("C") and c not in "\n\t\u200d\ufe0f" for c in e.text)]

    assert odd == []
    assert all(example.text == example.text.strip("\n") or example.label == "other" for example in corpus)


def test_the_exam_is_of_every_class_in_three_styles_and_nobody_trains_on_it(corpus: list[Example], codes: list[str]) -> None:
    exam = read_examples([EXAM])

    assert Counter((each.label, each.style) for each in exam if each.label != "other") == Counter(
        {(code, style): 3 for code in codes if code != "other" for style in ("spoken", "terse", "formal")}
    )
    assert {each.text for each in exam}.isdisjoint(each.text for each in corpus)
    assert {each.batch for each in exam}.isdisjoint(each.batch for each in corpus)


@pytest.mark.parametrize(("folder", "least"), [("terms", 25), ("plain", 12)])
def test_the_ontology_speaks_of_every_class_but_other(codes: list[str], folder: str, least: int) -> None:
    phrases = Counter(phrase.label for phrase in read_phrases(FOLDER / folder, 0.3))

    assert set(phrases) == set(codes) - {"other"}
    assert min(phrases.values()) >= least


def test_no_training_text_was_taken_from_the_ontology(corpus: list[Example]) -> None:
    texts = {example.text for example in corpus}

    assert [phrase.text for phrase in read_phrases(FOLDER / "plain", 1.0) if phrase.text in texts] == []
