from __future__ import annotations

from datetime import timedelta
from typing import Any

from services.classifier.training.comparison import corpus, held_out, objections
from services.classifier.training.outcomes import Outcome, split_by_time
from tests.unit.classifier.builders import NOW

CORPUS: dict[str, Any] = {"by_class": {}}


def outcome(label: str, source: str = "kept", predicted: str = "", minute: int = 0) -> Outcome:
    return Outcome(
        id=f"{minute}", text="x", label=label, weight=0.3, source=source, time=NOW + timedelta(minutes=minute), predicted=predicted or label
    )


def card(recall: float, texts: int = 100) -> dict[str, Any]:
    headline = dict.fromkeys(("top1_strict", "top3_strict", "macro_f1_strict", "ece", "coverage", "precision_when_answered"), recall)
    by_class = {"loan": {"texts": texts, "recall": recall, "recall_low": recall - 0.08, "recall_high": recall + 0.08}}
    return {"data_sha256": "same", "evaluation": {"across_writers": {**headline, "by_class": by_class}}}


def test_a_class_that_lost_what_chance_explains_is_no_objection() -> None:
    outcomes = [outcome("loan")] * 20

    compared = held_out(outcomes, ["loan"] * 20, ["tax"] * 5 + ["loan"] * 15, silent=0.0)

    assert (compared["by_class"]["loan"]["lost"], compared["by_class"]["loan"]["won"]) == (5, 0)
    assert objections(compared, CORPUS) == []


def test_a_class_that_lost_more_than_chance_explains_is_named() -> None:
    outcomes = [outcome("loan")] * 20

    compared = held_out(outcomes, ["loan"] * 20, ["tax"] * 8 + ["loan"] * 12, silent=0.0)

    assert any(reason.startswith("loan: of 20 later outcomes 8 lost and 0 won") for reason in objections(compared, CORPUS))


def test_losses_in_one_class_are_not_made_good_by_another() -> None:
    outcomes = [outcome("loan")] * 20 + [outcome("tax", "returned_and_kept_elsewhere", "land")] * 40

    compared = held_out(outcomes, ["loan"] * 20 + ["land"] * 40, ["tax"] * 8 + ["loan"] * 12 + ["tax"] * 40, silent=0.0)

    assert not compared["worse"]
    assert [reason.split(":")[0] for reason in objections(compared, CORPUS)] == ["loan"]


def test_as_many_lost_as_units_probably_accepted_in_silence_are_excused() -> None:
    kept = [outcome("loan")] * 20
    came_back = [outcome("tax", "returned_and_kept_elsewhere", "loan")] * 14

    compared = held_out([*kept, *came_back], ["loan"] * 34, ["tax"] * 6 + ["loan"] * 14 + ["tax"] * 14, silent=0.3)

    loan = compared["by_class"]["loan"]
    assert (loan["silent"], loan["lost"]) == (6, 0)
    assert objections(compared, CORPUS) == []


def test_corrections_are_never_excused() -> None:
    outcomes = [outcome("loan", "desk_decision", "loan")] * 10 + [outcome("tax", "desk_decision", "loan")] * 10

    compared = held_out(outcomes, ["loan"] * 20, ["tax"] * 20, silent=0.5)

    assert compared["by_class"]["loan"]["silent"] == 0
    assert compared["by_class"]["loan"]["lost"] == 10


def test_a_class_of_the_corpus_below_the_champions_interval_is_named() -> None:
    compared = held_out([outcome("loan")], ["loan"], ["loan"], silent=0.3)

    assert objections(compared, corpus(card(0.8), card(0.73))) == []
    assert objections(compared, corpus(card(0.8), card(0.71)))[0].startswith("loan: 0.71 of its 100 texts of the corpus right")


def test_the_last_share_of_time_judges_whatever_the_order_of_the_file() -> None:
    outcomes = [outcome("loan", minute=minute) for minute in (5, 3, 9, 1, 7, 0, 2, 8, 6, 4)]

    earlier, later = split_by_time(outcomes, 0.3)

    assert [each.id for each in earlier] == list("0123456")
    assert [each.id for each in later] == list("789")
