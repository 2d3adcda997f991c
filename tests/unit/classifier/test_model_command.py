from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from cli.model import app
from tests.unit.classifier.builders import LABELS, save_model, some_examples

if TYPE_CHECKING:
    from pathlib import Path

run = CliRunner().invoke


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model")).path


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    file = tmp_path / "texts.jsonl"
    records = [
        {"id": "first", "text": "璧山的厂停电三次，损失86万元，产线停了", "label": "power_supply", "style": "terse"},
        {"text": "", "label": "other"},
    ]
    file.write_text("\n".join(json.dumps(record, ensure_ascii=False) for record in records), encoding="utf-8")
    return file


def test_predictions_come_one_a_line_in_the_order_of_the_texts(model: Path, texts: Path) -> None:
    result = run(app, ["predict", "--data", str(texts), "--model", str(model), "--json"])

    first, second = (json.loads(line) for line in result.stdout.splitlines())
    assert result.exit_code == 0
    assert first["id"] == "first"
    assert first["classes"][0]["code"] == "power_supply"
    assert {each["code"] for each in first["classes"]} == set(LABELS)
    assert (first["abstained"], first["reason"], first["district"]) == (False, None, "500120")
    assert first["issues"][0] == "power_supply"
    assert first["slots"] == [{"key": "amount", "value": "860000元", "start": 11, "end": 15}]
    assert first["flags"] == [{"kind": "production_stopped", "start": 16, "end": 20}]
    assert all(0 <= span["start"] < span["end"] <= 20 for span in first["evidence"])
    assert (second["id"], second["abstained"], second["reason"]) == ("1", True, "too_little")


def test_predictions_for_people_name_class_and_probability(model: Path, texts: Path) -> None:
    result = run(app, ["predict", "--data", str(texts), "--model", str(model)])

    assert "power_supply" in result.stdout
    assert "? too_little" in result.stdout
    assert "! production_stopped" in result.stdout


def test_a_model_is_judged_in_words_and_in_json(model: Path, texts: Path) -> None:
    words = run(app, ["evaluate", "--data", str(texts), "--model", str(model)])
    figures = json.loads(run(app, ["evaluate", "--data", str(texts), "--model", str(model), "--json"]).stdout)

    assert words.exit_code == 0
    assert "top1" in words.stdout
    assert figures["texts"] == 2
    assert figures["by_style"]["terse"]["top1"] == 1.0
    assert "seen_in_training" in figures


def test_training_trains_once_and_then_says_that_nothing_changed(tmp_path: Path) -> None:
    file = tmp_path / "texts.jsonl"
    records = ({"text": each.text, "label": each.label, "batch": each.batch} for each in some_examples())
    file.write_text("\n".join(json.dumps(record, ensure_ascii=False) for record in records), encoding="utf-8")
    arguments = ["train", "--data", str(file), "--out", str(tmp_path / "model"), "--labels", "data"]

    first = run(app, [*arguments, "--json"])
    again = run(app, arguments)

    assert json.loads(first.stdout)["top1"] > 0.7
    assert "is up to date" in again.output


def test_a_missing_model_says_what_to_do(tmp_path: Path, texts: Path) -> None:
    result = run(app, ["predict", "--data", str(texts), "--model", str(tmp_path / "nothing")])

    assert result.exit_code == 1
    assert "paidan model train" in result.output


def test_a_label_that_is_not_in_the_catalogue_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text('{"text": "停电", "label": "no_such_class"}\n', encoding="utf-8")

    result = run(app, ["train", "--data", str(file), "--out", str(tmp_path / "model")])

    assert result.exit_code == 1
    assert "--labels data" in result.output


BROKEN = {
    "empty": b"",
    "no text": '{"txt": "停电"}'.encode(),
    "not json": b'{"text": ',
    "not utf-8": b"\xff\xfe",
    "too deep": b"[" * 100_000,
    "no label": '{"text": "停电"}\n'.encode(),
    "too little": '{"text": "停电", "label": "power_supply"}\n'.encode(),
}


@pytest.mark.parametrize("command", ["predict", "evaluate", "train"])
@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_broken_files_give_an_error_that_names_them_and_no_traceback(tmp_path: Path, model: Path, command: str, content: bytes) -> None:
    file = tmp_path / "x[bold].jsonl"
    file.write_bytes(content)
    where = ["--out", str(tmp_path / "out"), "--labels", "data"] if command == "train" else ["--model", str(model)]

    result = run(app, [command, "--data", str(file), *where])

    assert isinstance(result.exception, SystemExit | None)
    assert "Traceback" not in result.output
    assert result.exit_code == 0 or "错误 error" in result.output


def test_ids_that_come_twice_are_pointed_out_and_every_line_is_answered(tmp_path: Path, model: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text('{"id": 1, "text": "停电"}\r\n{"id": 1, "text": "贷款"}\r\n', encoding="utf-8-sig")

    result = run(app, ["predict", "--data", str(file), "--model", str(model), "--json"])

    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == ["1", "1"]
    assert "come more than once" in result.stderr


def test_two_classes_of_five_texts_are_enough_to_train(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    records = [
        {"text": f"{words}{number}", "label": label} for label, words in (("a", "停电三次"), ("b", "贷款不批")) for number in range(5)
    ]
    file.write_text("\n".join(json.dumps(record, ensure_ascii=False) for record in records), encoding="utf-8")

    result = run(app, ["train", "--data", str(file), "--out", str(tmp_path / "model"), "--labels", "data"])

    assert result.exit_code == 0
