"""A city that acts on the model's answers, and a model that learns from the city."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

import pytest

from services.classifier.adapters.model_archive import ModelArchive
from services.classifier.application.answering import answers
from services.classifier.training.examples import read_examples
from services.classifier.training.fit import Settings
from services.classifier.training.outcomes import believed
from services.classifier.training.retrain import NothingToLearnError, RetrainRequest, retrain
from services.classifier.training.run import CORPUS, TrainingRequest, has_learnt, train
from tests.support.outcome_stream import City
from tests.unit.classifier.builders import NOW

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from services.classifier.application.ports import Recogniser
    from services.classifier.training.examples import Example
    from services.classifier.training.outcomes import Outcome

LABELS = frozenset(
    {
        "power_supply", "loan_financing", "land_supply", "eia_emission", "arrears_payment", "customs_clearance",
        "ip_protection", "talent_policy", "freight_transport", "fair_competition", "foreign_trade", "other",
    }
)  # fmt: skip
SINGLE = Settings()
_KNOWN_A_CLASS = 12
_ROUNDS = 3
_TELLING = 20
"""A shorter text may stand in another by chance."""


@dataclass(frozen=True)
class Town:
    """A weak model of few texts by one writer, a stream of other writers' texts, and texts by one that nobody has seen."""

    training: TrainingRequest
    stream: tuple[Example, ...]
    untouched: tuple[Example, ...]

    @property
    def archive(self) -> ModelArchive:
        return ModelArchive(self.training.out)

    def accuracy(self, model: Recogniser) -> float:
        given = answers(model, [each.text for each in self.untouched], 1)
        return sum(answer.classes[0].code == each.label for answer, each in zip(given, self.untouched, strict=True)) / len(given)


@pytest.fixture
def town(tmp_path: Path) -> Town:
    first, second, third, fourth = (_texts_of(writer) for writer in "abcd")
    seen: Counter[str] = Counter()
    known = [each for each in first if (seen.update([each.label]) or seen[each.label]) <= _KNOWN_A_CLASS]
    file = tmp_path / "texts.jsonl"
    records = ({"text": each.text, "label": each.label, "batch": f"half {n % 2}"} for n, each in enumerate(known))
    file.write_text("\n".join(json.dumps(record, ensure_ascii=False) for record in records), encoding="utf-8")
    training = TrainingRequest(data=(file,), out=tmp_path / "model", catalogue=None, settings=SINGLE)
    train(training, now=NOW, step=_ignore)
    stream = [*second, *third]
    Random(7).shuffle(stream)
    return Town(training, tuple(stream), tuple(fourth))


def _texts_of(writer: str) -> list[Example]:
    return [each for each in read_examples([CORPUS / f"batch_{writer}.jsonl"]) if each.label in LABELS]


def _ignore(_words: str) -> None:
    pass


def live_through(town: Town, city: City) -> list[float]:
    """Let the city act on the model in rounds, each with retraining and, if allowed, promotion; returns the true quality after each."""
    outcomes: list[Outcome] = []
    quality = [town.accuracy(town.archive.served.load())]
    size = len(town.stream) // _ROUNDS
    for number in range(_ROUNDS):
        start = NOW + timedelta(days=10 * number)
        outcomes += city.outcomes(town.archive.served.load(), town.stream[number * size : (number + 1) * size], start)
        compared = retrain(RetrainRequest(training=town.training, outcomes=outcomes), now=start + timedelta(days=9), step=_ignore)
        if compared["promotable"]:
            town.archive.promote(compared["challenger"], now=start, reason="simulation")
        quality.append(town.accuracy(town.archive.served.load()))
    return quality


@pytest.mark.parametrize("seed", [1, 2])
def test_with_30_percent_of_misroutes_accepted_in_silence_the_quality_rises_by_15_points_and_never_falls(town: Town, seed: int) -> None:
    quality = live_through(town, City(Random(seed), silent=0.3))

    assert quality[-1] >= quality[0] + 0.15, quality
    assert all(after >= before - 0.02 for before, after in pairwise(quality)), quality


def test_even_where_every_misroute_is_accepted_in_silence_the_quality_does_not_collapse(town: Town) -> None:
    quality = live_through(town, City(Random(1), silent=1.0))

    assert quality[-1] >= quality[0] - 0.02, quality


def test_of_kept_outcomes_the_wrong_ones_are_believed_less(town: Town) -> None:
    model = town.archive.served.load()
    outcomes = [each for each in City(Random(1)).outcomes(model, town.stream, NOW) if each.source == "kept"]
    true = {each.text: each.label for each in town.stream}

    labels = [each.code for each in model.classes]
    examples = believed(outcomes, read_examples(town.training.data), labels, SINGLE, _ignore)

    right, wrong = (
        [
            example.weight / outcome.weight
            for outcome, example in zip(outcomes, examples, strict=True)
            if (true[outcome.text] == outcome.label) is is_right
        ]
        for is_right in (True, False)
    )
    assert len(wrong) > 20
    assert _mean(right) > _mean(wrong) + 0.1


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def test_a_challenger_stands_beside_the_champion_with_its_comparison_until_it_is_promoted(town: Town) -> None:
    before = town.archive.served.card()["version"]
    outcomes = list(City(Random(1)).outcomes(town.archive.served.load(), town.stream, NOW))

    compared = retrain(RetrainRequest(training=town.training, outcomes=outcomes), now=NOW, step=_ignore)

    challenger = town.archive.version(compared["challenger"])
    assert town.archive.served.card()["version"] == before == compared["champion"]
    assert town.archive.comparison(compared["challenger"]) == json.loads(json.dumps(compared))
    assert "| class | texts | champion (95 %)" in (challenger.path / "comparison.md").read_text(encoding="utf-8")
    assert compared["learnt"]["outcomes"] + compared["held_out"]["texts"] == len(outcomes)
    assert compared["learnt"]["until"] < compared["held_out"]["from"]
    card = (challenger.path / "card.json").read_text(encoding="utf-8")
    assert not any(each.text in card for each in town.stream if len(each.text) > _TELLING)
    assert (has_learnt(challenger.path), has_learnt(town.training.out)) == (True, False)


def test_the_same_outcomes_give_the_same_challenger(town: Town) -> None:
    outcomes = list(City(Random(1)).outcomes(town.archive.served.load(), town.stream[:400], NOW))

    one, two = (
        retrain(RetrainRequest(training=town.training, outcomes=some), now=NOW, step=_ignore) for some in (outcomes, outcomes[::-1])
    )

    assert one == two


@pytest.mark.parametrize(
    ("chosen", "problem"),
    [
        (lambda _outcomes: [], "there is no outcome"),
        (lambda outcomes: outcomes[:50], "at least 200 are needed"),
        (
            lambda outcomes: [replace(each, label="power_supply") for each in outcomes],
            "all outcomes to learn from are of one class, power_supply",
        ),
        (lambda outcomes: [replace(each, label="abolished") for each in outcomes], "there is no outcome that names a class of the model"),
    ],
    ids=["none", "few", "one class", "unknown classes"],
)
def test_where_there_is_nothing_to_learn_the_reason_is_named(town: Town, chosen: object, problem: str) -> None:
    outcomes = chosen(list(City(Random(1)).outcomes(town.archive.served.load(), town.stream[:400], NOW)))  # type: ignore[operator]

    with pytest.raises(NothingToLearnError, match=problem):
        retrain(RetrainRequest(training=town.training, outcomes=outcomes), now=NOW, step=_ignore)
