"""Codes of districts from the catalogue."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from services.intake.domain.types import DistrictCode

if TYPE_CHECKING:
    from pathlib import Path


class CatalogueUnusable(Exception):
    """The catalogue's districts cannot be read; intake does not start without them."""

    text_is_public = True


def load_districts(folder: Path) -> frozenset[DistrictCode]:
    """Read the codes of all districts, including abolished ones: the dispatcher sends their tickets to a successor.

    Args:
        folder: Holds `districts.csv`, in UTF-8.

    Raises:
        CatalogueUnusable: The file is missing, cannot be read, or names no district.
    """
    path = folder / "districts.csv"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            codes = frozenset(DistrictCode(row["code"].strip()) for row in csv.DictReader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, AttributeError) as error:
        message = f"{path}: cannot be read: {type(error).__name__}"
        raise CatalogueUnusable(message) from error
    if not codes:
        message = f"{path}: names no district"
        raise CatalogueUnusable(message)
    return codes
