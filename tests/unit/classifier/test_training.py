from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from services.classifier.adapters.model_store import ModelFolder
from services.classifier.training import run
from services.classifier.training.fit import Settings
from services.classifier.training.run import TrainingRequest, UnknownLabelError
from tests.unit.classifier.builders import NOW, some_examples

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Few texts of few classes by two writers."""
    file = tmp_path_factory.mktemp("data") / "texts.jsonl"
    records = (
        {"text": each.text, "label": each.label, "batch": each.batch, "style": each.style, "alt": list(each.alt)}
        for each in some_examples()
    )
    file.write_text("\n".join(json.dumps(record, ensure_ascii=False) for record in records), encoding="utf-8")
    return file


def request(data: Path, out: Path, **changes: object) -> TrainingRequest:
    asked = {"settings": Settings(), **changes}
    return TrainingRequest(data=(data,), out=out, catalogue=None, **asked)  # type: ignore[arg-type]  # each test changes one


def test_training_writes_a_model_that_serves_and_a_card_that_tells(data: Path, tmp_path: Path) -> None:
    steps: list[str] = []

    card = run.train(request(data, tmp_path), now=NOW, step=steps.append)

    loaded = ModelFolder(tmp_path).load()
    (answer,) = loaded.recognise(["这周停电三次"])
    assert answer.classes[0].code == "power_supply"
    assert loaded.release.version == card["version"]
    assert re.fullmatch(r"20261123-[0-9a-f]{8}", card["version"])
    assert card["evaluation"]["across_writers"]["top1"] > 0.8
    assert steps[0] == "read texts"
    assert "setting 1, without writer a" in steps
    assert "| first answer right, strictly |" in (tmp_path / "card.md").read_text(encoding="utf-8")
    assert (tmp_path / "risk_coverage.svg").read_text(encoding="utf-8").startswith("<svg")
    assert (tmp_path / "reliability.svg").read_text(encoding="utf-8").startswith("<svg")


def test_training_twice_gives_the_same_bytes(data: Path, tmp_path: Path) -> None:
    cards = [run.train(request(data, tmp_path / name), now=NOW, step=lambda _: None) for name in ("one", "two")]

    assert cards[0]["sha256"] == cards[1]["sha256"]
    assert cards[0]["fingerprint"] == cards[1]["fingerprint"]


def test_a_folder_is_up_to_date_until_texts_settings_or_model_change(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    asked = request(data, out)

    before = run.is_up_to_date(asked)
    run.train(asked, now=NOW, step=lambda _: None)
    after = run.is_up_to_date(asked)
    with_other_settings = run.is_up_to_date(request(data, out, precision=0.9))
    for file in out.glob("model-*.npz"):
        file.write_bytes(b"")
    damaged = run.is_up_to_date(asked)

    assert (before, after, with_other_settings, damaged) == (False, True, False, False)


def test_a_class_that_the_catalogue_does_not_know_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text('{"text": "停电", "label": "no_such_class"}\n', encoding="utf-8")

    with pytest.raises(UnknownLabelError) as unknown:
        run.train(TrainingRequest(data=(file,), out=tmp_path / "model"), now=NOW, step=lambda _: None)

    assert unknown.value.label == "no_such_class"


def test_a_model_in_a_folder_is_judged_by_texts_and_says_if_it_has_seen_them(data: Path, tmp_path: Path) -> None:
    run.train(request(data, tmp_path), now=NOW, step=lambda _: None)
    strange = tmp_path / "strange.jsonl"
    strange.write_text('{"text": "又停电了", "label": "power_supply"}\n', encoding="utf-8")

    seen, unseen = run.evaluate_model(tmp_path, [data]), run.evaluate_model(tmp_path, [strange])

    assert (seen["seen_in_training"], unseen["seen_in_training"]) == (True, False)
    assert unseen["top1"] == 1.0
    assert seen["texts"] == len(some_examples())


def test_across_writers_no_text_is_judged_by_a_model_that_saw_its_writer(data: Path, tmp_path: Path) -> None:
    steps: list[str] = []

    figures = run.evaluate_across_writers(request(data, tmp_path), steps.append)

    assert steps == ["setting 1, without writer a", "setting 1, without writer b"]
    assert figures["texts"] == len(some_examples())
    assert 0.7 < figures["top1_strict"] < 1.0


def test_of_the_candidate_settings_the_one_that_is_right_most_often_is_taken(data: Path, tmp_path: Path) -> None:
    card = run.train(request(data, tmp_path, settings=None), now=NOW, step=lambda _: None)

    tried = card["settings_tried"]
    best = max(tried, key=lambda each: each["right"])
    assert len(tried) == len(run.CANDIDATES)
    assert card["settings"] == {name: value for name, value in best.items() if name != "right"}
    assert card["evaluation"]["across_writers"]["top1_strict"] == pytest.approx(best["right"], abs=0.02)
