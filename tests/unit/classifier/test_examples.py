from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from services.classifier.training.examples import UnreadableDataError, digest_of, read_examples

if TYPE_CHECKING:
    from pathlib import Path


def test_lines_of_json_are_read_with_all_that_they_tell(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text(
        '{"id": 7, "text": "停电\\n了", "label": "power_supply", "alt": ["fee_burden"], "style": "terse", "batch": "a", "weight": 0.5}\n'
        '\n{"text": ""}\n',
        encoding="utf-8",
    )

    full, bare = read_examples([file])

    assert (full.id, full.text, full.label, full.alt, full.style, full.batch) == (
        "7",
        "停电\n了",
        "power_supply",
        ("fee_burden",),
        "terse",
        "a",
    )
    assert full.weight == 0.5
    assert (bare.id, bare.text, bare.label, bare.alt) == ("1", "", "", ())


def test_tables_are_read_too_also_packed_and_with_words_set_apart(tmp_path: Path) -> None:
    file = tmp_path / "x.tsv.gz"
    with gzip.open(file, "wt", encoding="utf-8") as lines:
        lines.write('seg\tlabel\n"园区 停电\n三次"\t供电\n')

    (example,) = read_examples([file])

    assert (example.text, example.label) == ("园区停电\n三次", "供电")


def test_alternatives_in_a_table_are_parted_by_commas(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text('text,label,alt\n停电,power_supply,"fee_burden,gas_supply"\n', encoding="utf-8")

    assert read_examples([file])[0].alt == ("fee_burden", "gas_supply")


def test_of_several_files_each_stands_for_a_writer(tmp_path: Path) -> None:
    for name in ("one.jsonl", "two.jsonl"):
        (tmp_path / name).write_text('{"text": "停电"}\n', encoding="utf-8")

    examples = read_examples(sorted(tmp_path.iterdir()))

    assert [example.batch for example in examples] == ["one.jsonl", "two.jsonl"]


@pytest.mark.parametrize(
    ("name", "content", "record"),
    [
        ("x.jsonl", '{"text": "a"}\n{', 2),
        ("x.jsonl", "[1]", 1),
        ("x.jsonl", "[" * 100_000, 1),
        ("x.jsonl", "", 1),
        ("x.jsonl", "\n\n", 1),
        ("x.jsonl", '{"text": 5}', 1),
        ("x.jsonl", '{"text": "a", "label": ["b"]}', 1),
        ("x.jsonl", '{"text": "a", "label": true}', 1),
        ("x.jsonl", '{"text": "a", "alt": 5}', 1),
        ("x.jsonl", '{"text": "a"}\n{"text": "a", "weight": "heavy"}', 2),
        ("x.jsonl", '{"text": "a", "weight": NaN}', 1),
        ("x.jsonl", '{"text": "a", "weight": -1}', 1),
        ("x.csv", "", 1),
        ("x.csv", "label\nx\n", 1),
        ("x.csv", f"text,label\na,b\n{'a' * 200_000},c\n", 2),
        ("x.jsonl.gz", '{"text": "a"}', 1),
        ("x.txt", "停电", 1),
    ],
)
def test_what_is_not_understood_is_named(tmp_path: Path, name: str, content: str, record: int) -> None:
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")

    with pytest.raises(UnreadableDataError) as unreadable:
        read_examples([file])

    assert unreadable.value.line == record


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b'{"text": "\xff"}'])
def test_what_is_not_utf_8_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(content)

    with pytest.raises(UnreadableDataError, match="UTF-8"):
        read_examples([file])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.jsonl", '\ufeff{"text": "停电", "label": "a"}\r\n{"text": "欠款", "label": "b"}\r\n'),
        ("x.csv", "\ufefftext,label\r\n停电,a\r\n欠款,b\r\n"),
        ("x.tsv", "\ufefftext\tlabel\n停电\ta\n欠款\tb"),
    ],
)
def test_byte_order_marks_and_line_ends_of_windows_make_no_difference(tmp_path: Path, name: str, content: str) -> None:
    file = tmp_path / name
    file.write_bytes(content.encode())

    assert [(example.text, example.label) for example in read_examples([file])] == [("停电", "a"), ("欠款", "b")]


def test_a_line_of_a_megabyte_is_read_and_half_a_surrogate_pair_keeps_its_place(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text(f'{{"text": "{"停电" * 200_000}"}}\n{{"text": "\\ud83d停", "id": "\\udfff"}}\n', encoding="utf-8")

    long, broken = read_examples([file])

    assert len(long.text) == 400_000
    assert (broken.text, broken.id) == ("\ufffd停", "\ufffd")


def test_the_hash_of_files_does_not_depend_on_their_order_but_on_every_byte(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.write_text("2")
    before = digest_of([one, two])

    assert digest_of([two, one]) == before
    two.write_text("3")
    assert digest_of([one, two]) != before
