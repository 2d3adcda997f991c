"""The catalogue from its CSV files."""

from __future__ import annotations

import csv
import hashlib
from datetime import date
from typing import TYPE_CHECKING, TypeVar

from services.dispatcher.domain.catalogue import Alias, Catalogue, Department, District, Level, RequestClass
from services.dispatcher.domain.errors import CatalogueInvalid
from services.dispatcher.domain.rules import Rule
from services.dispatcher.domain.values import ClassCode, DistrictCode, UnitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

T = TypeVar("T")

CLASSES = "classes.csv"
DEPARTMENTS = "departments.csv"
DISTRICTS = "districts.csv"
ALIASES = "district_aliases.csv"
RULES = "rules.csv"
FILES = (CLASSES, DEPARTMENTS, DISTRICTS, ALIASES, RULES)

Row = dict[str, str]


def load_catalogue(folder: Path) -> Catalogue:
    """Read the catalogue and check it.

    Args:
        folder: Holds the files of `FILES`, in UTF-8.

    Raises:
        CatalogueInvalid: A file or column is missing, a cell cannot be read, or the parts contradict each other; every problem is named.
    """
    problems: list[str] = []
    rows = {name: _rows(folder / name, problems) for name in FILES}
    departments = _parsed(DEPARTMENTS, rows[DEPARTMENTS], _department, problems)
    codes = {each.name_zh: each.code for each in departments}
    parts = (
        _parsed(CLASSES, rows[CLASSES], lambda row: _class(row, codes), problems),
        _parsed(DISTRICTS, rows[DISTRICTS], _district, problems),
        _parsed(ALIASES, rows[ALIASES], _alias, problems),
        _parsed(RULES, rows[RULES], _rule, problems),
    )
    if problems:
        raise CatalogueInvalid(problems)
    classes, districts, aliases, rules = parts
    return Catalogue(
        version=_version(folder),
        classes=classes,
        departments=departments,
        districts=districts,
        aliases=aliases,
        rules=rules,
    )


def _version(folder: Path) -> str:
    """Return the first 16 hex digits of the SHA-256 over the files' names and contents."""
    digest = hashlib.sha256()
    for name in FILES:
        content = (folder / name).read_bytes()
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def _rows(path: Path, problems: list[str]) -> list[Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        problems.append(f"{path}: cannot be read: {error}")
        return []


def _parsed(name: str, rows: Sequence[Row], parse: Callable[[Row], T], problems: list[str]) -> list[T]:
    parsed = []
    for line, row in enumerate(rows, start=2):
        try:
            parsed.append(parse(row))
        except KeyError as error:
            problems.append(f"{name}, row {line}: there is no column {error}")
        except (ValueError, AttributeError) as error:
            problems.append(f"{name}, row {line}: {error}")
    return parsed


def _department(row: Row) -> Department:
    return Department(code=UnitCode(_required(row, "code")), name_zh=_required(row, "name_zh"))


def _class(row: Row, departments: Mapping[str, UnitCode]) -> RequestClass:
    named = _split(row["co_handlers_zh"])
    return RequestClass(
        code=ClassCode(_required(row, "code")),
        name_zh=_required(row, "name_zh"),
        name_en=_required(row, "name_en"),
        domain_zh=_required(row, "domain_zh"),
        lead=UnitCode(_required(row, "lead")),
        level=Level(row["level"]),
        co_handlers=tuple(departments[name] for name in named if name in departments),
        outside_co_handlers=tuple(name for name in named if name not in departments),
    )


def _district(row: Row) -> District:
    return District(
        code=DistrictCode(_required(row, "code")),
        name_zh=_required(row, "name_zh"),
        valid_to=_date(row["valid_to"]),
        succeeded_by=tuple(DistrictCode(code) for code in _split(row["succeeded_by"])),
    )


def _alias(row: Row) -> Alias:
    return Alias(
        name=_required(row, "name"),
        district=DistrictCode(row["district_code"]) if row["district_code"] else None,
        part_of=DistrictCode(row["part_of"]) if row["part_of"] else None,
        valid_from=_date(row["valid_from"]),
        valid_to=_date(row["valid_to"]),
    )


def _rule(row: Row) -> Rule:
    weight = float(row["weight"])
    groups = tuple(_words(group) for group in _split(row["all_of"]))
    if not weight > 0:
        message = f"weight {row['weight']} is not above 0"
        raise ValueError(message)
    if not groups or not all(groups):
        message = "all_of names no words"
        raise ValueError(message)
    return Rule(
        rule_id=_required(row, "rule_id"),
        class_code=ClassCode(_required(row, "class_code")),
        weight=weight,
        all_of=groups,
        none_of=_words(row["none_of"]),
    )


def _required(row: Row, column: str) -> str:
    value = row[column].strip()
    if not value:
        message = f"{column} is empty"
        raise ValueError(message)
    return value


def _split(cell: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in cell.split(";") if part.strip())


def _words(cell: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in cell.split("|") if word.strip())


def _date(cell: str) -> date | None:
    return date.fromisoformat(cell) if cell else None
