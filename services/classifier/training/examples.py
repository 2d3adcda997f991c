"""Training and evaluation texts: reading them, and telling what is in them."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import math
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

_HALF_SURROGATE = re.compile("[\ud800-\udfff]")
"""JSON can spell it and no file can hold it: it is read as the replacement character, which keeps positions."""


class UnreadableDataError(Exception):
    """A file of texts is not in a format that is understood.

    Attributes:
        path: The file.
        line: Line or record, from 1.
        problem: What is wrong.
    """

    def __init__(self, path: Path, line: int, problem: str) -> None:
        super().__init__(f"{path}, record {line}: {problem}")
        self.path = path
        self.line = line
        self.problem = problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A text with its class.

    Attributes:
        text: As written.
        label: Code of the class; empty where it is not known.
        id: Its own id, or its position in its file, from 0.
        alt: Codes of other classes that would be right too.
        style: Voice in which it is written; empty if not known.
        sub_matter: The particular matter; empty if not known.
        batch: Who wrote it; empty if not known. Evaluation keeps writers apart.
        weight: How much it counts in training.
    """

    text: str
    label: str = ""
    id: str = ""
    alt: tuple[str, ...] = ()
    style: str = ""
    sub_matter: str = ""
    batch: str = ""
    weight: float = 1.0


def read_examples(paths: Sequence[Path]) -> list[Example]:
    """Read texts from files, in their order: `.jsonl`, or `.tsv` and `.csv` with a heading, each also gzipped.

    Fields: `text` (or `seg`, whose blanks between words are taken out), `label`, and optionally `id`, `alt`, `style` or `voice`,
    `sub_matter`, `batch`, `weight`. Without `batch` the file's name stands for the writer when there are several files.

    Raises:
        UnreadableDataError: A file cannot be read or holds nothing, or a record is not understood.
    """
    return [example for path in paths for example in _read(path, several_files=len(paths) > 1)]


def digest_of(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of files' contents together, hex, whatever their order."""
    digests = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _read(path: Path, *, several_files: bool) -> Iterator[Example]:
    number = 0
    try:
        for number, record in enumerate(_records(path), start=1):
            yield _example(record, path, number, several_files)
    except UnicodeDecodeError as error:
        raise UnreadableDataError(path, number + 1, "not UTF-8") from error
    except (csv.Error, OSError, EOFError, zlib.error) as error:
        raise UnreadableDataError(path, number + 1, f"cannot be read: {error}") from error
    if number == 0:
        raise UnreadableDataError(path, 1, "the file holds no text")


def _records(path: Path) -> Iterator[dict[str, Any]]:
    opened = gzip.open if path.suffix == ".gz" else open
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    with opened(path, "rt", encoding="utf-8-sig", newline="") as lines:
        match suffix:
            case ".jsonl":
                yield from _json_records(path, lines)
            case ".tsv":
                yield from csv.DictReader(lines, delimiter="\t")
            case ".csv":
                yield from csv.DictReader(lines)
            case _:
                raise UnreadableDataError(path, 1, f"files end in .jsonl, .tsv or .csv, not {suffix!r}")


def _json_records(path: Path, lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise UnreadableDataError(path, number, f"not JSON: {error}") from error
        except RecursionError as error:
            raise UnreadableDataError(path, number, "not JSON that anybody writes: too deeply nested") from error
        if not isinstance(record, dict):
            raise UnreadableDataError(path, number, "not an object")
        yield record


def _example(record: dict[str, Any], path: Path, number: int, several_files: bool) -> Example:  # noqa: FBT001 - private
    text = record["seg"].replace(" ", "") if "text" not in record and isinstance(record.get("seg"), str) else record.get("text")
    if not isinstance(text, str):
        raise UnreadableDataError(path, number, "has no `text`")
    return Example(
        text=_HALF_SURROGATE.sub("\ufffd", text),
        label=_word(record, "label", path, number),
        id=_word(record, "id", path, number) or str(number - 1),
        alt=_alternatives(record, path, number),
        style=_word(record, "style", path, number) or _word(record, "voice", path, number),
        sub_matter=_word(record, "sub_matter", path, number),
        batch=_word(record, "batch", path, number) or (path.name if several_files else ""),
        weight=_weight(record, path, number),
    )


def _word(record: dict[str, Any], field: str, path: Path, number: int) -> str:
    value = record.get(field)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise UnreadableDataError(path, number, f"`{field}` is neither a text nor a number")
    return _HALF_SURROGATE.sub("\ufffd", str(value))


def _alternatives(record: dict[str, Any], path: Path, number: int) -> tuple[str, ...]:
    alternatives = record.get("alt") or ()
    if isinstance(alternatives, str):
        return tuple(alternatives.split(","))
    if not isinstance(alternatives, (list, tuple)) or not all(isinstance(each, str) for each in alternatives):
        raise UnreadableDataError(path, number, "`alt` is not a list of labels")
    return tuple(alternatives)


def _weight(record: dict[str, Any], path: Path, number: int) -> float:
    try:
        weight = float(record.get("weight") or 1.0)
    except (TypeError, ValueError, OverflowError):
        weight = math.nan
    if not (math.isfinite(weight) and weight > 0):
        raise UnreadableDataError(path, number, "`weight` is not a number above 0")
    return weight
