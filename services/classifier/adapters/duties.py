"""From the catalogue: which classes a unit leads for."""

from __future__ import annotations

import csv
from collections import defaultdict
from typing import TYPE_CHECKING

from services.classifier.domain.classification import ClassCode
from services.classifier.domain.outcomes import Duties, UnitCode

if TYPE_CHECKING:
    from pathlib import Path

_DUTY_DESK = UnitCode("dutydesk")


def read_duties(catalogue: Path) -> Duties:
    """Read them.

    Raises:
        OSError: A file is missing.
        KeyError: One lacks a column.
    """
    of_departments: dict[UnitCode, set[ClassCode]] = defaultdict(set)
    of_districts = set()
    for row in _rows(catalogue / "classes.csv"):
        of_departments[UnitCode(row["lead"])].add(ClassCode(row["code"]))
        if row["level"] == "district_first":
            of_districts.add(ClassCode(row["code"]))
    departments = {UnitCode(row["code"]) for row in _rows(catalogue / "departments.csv")}
    return Duties(of_departments, of_districts, departments | {_DUTY_DESK})


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))
