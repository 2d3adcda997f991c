"""What the model takes from the catalogue: its classes, and the names of districts."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from services.classifier.domain.classification import OTHER, ClassCode, DistrictCode, RequestClass

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT = Path(__file__).resolve().parents[3] / "catalogue"

_OTHER = RequestClass(code=OTHER, name_zh="其他", name_en="other", domain_zh="其他")


def read_classes(folder: Path) -> list[RequestClass]:
    """Return the catalogue's classes in its order, `other` last."""
    classes = [
        RequestClass(code=ClassCode(row["code"]), name_zh=row["name_zh"], name_en=row["name_en"], domain_zh=row["domain_zh"])
        for row in _rows(folder / "classes.csv")
    ]
    return [*classes, _OTHER]


def classes_named(labels: Sequence[str]) -> list[RequestClass]:
    """Return classes for labels that no catalogue describes, for measuring on other data."""
    return [RequestClass(code=ClassCode(label), name_zh=label, name_en=label, domain_zh="") for label in sorted(set(labels))]


def read_district_names(folder: Path) -> dict[str, DistrictCode | None]:
    """Return every name by which a text may name a district; None for words that only look like one.

    Names that are bound to a time are taken as they stand today; those that hold only inside another district are left out.
    """
    names: dict[str, DistrictCode | None] = {row["name_zh"]: DistrictCode(row["code"]) for row in _rows(folder / "districts.csv")}
    for row in _rows(folder / "district_aliases.csv"):
        if not row["valid_to"] and not row["part_of"]:
            names[row["name"]] = DistrictCode(row["district_code"]) if row["district_code"] else None
    return names


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))
