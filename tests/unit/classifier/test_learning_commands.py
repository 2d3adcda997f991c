from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from cli.main import app
from services.classifier.adapters.model_archive import ModelArchive
from services.classifier.training.fit import Settings
from services.classifier.training.run import TrainingRequest, train
from tests.support.outcome_stream import City
from tests.unit.classifier.builders import NOW, some_examples

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


class Desk:
    """Somebody at a terminal, with a served model and a file of outcomes."""

    def __init__(self, folder: Path) -> None:
        self.texts, self.outcomes, self.model = folder / "texts.jsonl", folder / "outcomes.jsonl", folder / "model"
        known, coming = some_examples()[::3], [each for number, each in enumerate(some_examples()) if number % 3]
        records = ({"text": each.text, "label": each.label, "batch": each.batch} for each in known)
        self.texts.write_text("\n".join(json.dumps(record, ensure_ascii=False) for record in records), encoding="utf-8")
        train(TrainingRequest(data=(self.texts,), out=self.model, catalogue=None, settings=Settings()), now=NOW, step=lambda _: None)
        self.archive = ModelArchive(self.model)
        outcomes = City(Random(1)).outcomes(self.archive.served.load(), coming, NOW)
        self.outcomes.write_text("\n".join(json.dumps(each.record(), ensure_ascii=False) for each in outcomes), encoding="utf-8")

    def retrain(self, *more: str) -> Result:
        arguments = ("--data", str(self.texts), "--outcomes", str(self.outcomes), "--model", str(self.model), "--labels", "data")
        return self.run("retrain", *arguments, *more)

    def run(self, command: str, *arguments: str) -> Result:
        return CliRunner().invoke(app, ["model", command, *arguments])

    def served(self) -> str:
        return str(self.archive.served.card()["version"])


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_challenger_is_built_promoted_and_taken_back(desk: Desk) -> None:
    champion = desk.served()
    built = desk.retrain("--json")
    challenger = json.loads(built.stdout)["challenger"]
    after_retraining = desk.served()

    promoted = desk.run("promote", challenger, "--model", str(desk.model), "--reason", "better")
    after_promotion = desk.served()
    back = desk.run("rollback", "--model", str(desk.model), "--reason", "worse")

    assert built.exit_code == promoted.exit_code == back.exit_code == 0
    assert (after_retraining, after_promotion, desk.served()) == (champion, challenger, champion)
    assert [entry["reason"] for entry in desk.archive.history()] == ["better", "worse"]


def test_retraining_tells_people_what_was_learnt_and_what_to_do_next(desk: Desk) -> None:
    result = desk.retrain()

    assert result.exit_code == 0
    assert "kept" in result.stdout
    assert "later outcomes" in result.stdout
    assert "paidan model promote" in result.stdout
    assert "outcomes without part 1" in result.output


def test_a_second_run_gives_the_same_challenger_and_a_promoted_one_may_be_retrained(desk: Desk) -> None:
    first, second = (json.loads(desk.retrain("--json").stdout) for _ in range(2))
    promoted = json.loads(desk.retrain("--promote", "--json").stdout)
    third = desk.retrain("--json")

    assert first["challenger"] == second["challenger"] == promoted["challenger"] == desk.served()
    assert promoted["promoted"]
    assert third.exit_code == 0


def test_an_objection_refuses_promotion_unless_it_is_forced_with_a_reason(desk: Desk) -> None:
    challenger = json.loads(desk.retrain("--json").stdout)["challenger"]
    report = desk.archive.version(challenger).path / "comparison.json"
    report.write_text(json.dumps({**json.loads(report.read_text()), "objections": ["power_supply: lost"]}), encoding="utf-8")
    promote = ("promote", challenger, "--model", str(desk.model))

    refused, without_reason = desk.run(*promote), desk.run(*promote, "--force")
    forced = desk.run(*promote, "--force", "--reason", "the losses are known errors")

    assert (refused.exit_code, without_reason.exit_code, forced.exit_code) == (1, 1, 0)
    assert "power_supply: lost" in refused.output
    assert "--reason" in without_reason.output
    assert desk.archive.history()[0]["reason"] == "forced: the losses are known errors"


def test_a_challenger_of_a_champion_that_is_gone_is_not_promoted(desk: Desk) -> None:
    first = json.loads(desk.retrain("--json").stdout)["challenger"]
    second = json.loads(desk.retrain("--later", "0.5", "--promote", "--json").stdout)["challenger"]

    result = desk.run("promote", first, "--model", str(desk.model))

    assert desk.served() == second
    assert result.exit_code == 1
    assert "compared" in result.output


def test_versions_say_which_is_served_and_which_may_be(desk: Desk) -> None:
    challenger = json.loads(desk.retrain("--json").stdout)["challenger"]

    rows = [json.loads(line) for line in desk.run("versions", "--model", str(desk.model), "--json").stdout.splitlines()]

    assert {row["version"]: row["state"] for row in rows} == {desk.served(): "served", challenger: "may be promoted"}


def test_setting_up_again_does_not_forget_what_was_learnt(desk: Desk) -> None:
    desk.retrain("--promote")
    learnt = desk.served()
    train_again = ("train", "--data", str(desk.texts), "--out", str(desk.model), "--labels", "data")

    again = desk.run(*train_again)
    kept = desk.served()
    forced = desk.run(*train_again, "--force")

    assert (again.exit_code, forced.exit_code) == (0, 0)
    assert "learnt from outcomes" in again.output
    assert kept == learnt
    assert desk.served() != learnt


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("", "there is no outcome"),
        ("{}", "record 1: lacks 'time'"),
        ('{"id": 1, "text": "x", "label": "other", "weight": 2, "source": "kept", "time": "2026-11-23T00:00:00Z"}', "weight is 2"),
        ('{"id": 1, "text": "x", "label": "other", "weight": 1, "source": "rumour", "time": "2026-11-23T00:00:00Z"}', "rumour"),
        ('{"id": 1, "text": "x", "label": "other", "weight": 1, "source": "kept", "time": "2026-11-23T00:00:00Z"}', "at least 200"),
    ],
    ids=["empty", "incomplete", "overweight", "unknown source", "too few"],
)
def test_a_file_to_learn_nothing_from_says_why(desk: Desk, line: str, problem: str) -> None:
    desk.outcomes.write_text(line, encoding="utf-8")

    result = desk.retrain()

    assert result.exit_code == 1
    assert problem in " ".join(result.output.split())


def test_there_is_nothing_to_roll_back_to_before_a_promotion(desk: Desk) -> None:
    result = desk.run("rollback", "--model", str(desk.model))

    assert result.exit_code == 1
    assert "paidan model versions" in result.output
