"""Which district a text names."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.classifier.domain.classification import DistrictCode


class DistrictFinder:
    """Finds districts by their names: full, short and old ones, places in them, slips of speech recognition."""

    def __init__(self, names: Mapping[str, DistrictCode | None]) -> None:
        """Know these names; one with None is not a place but hides the name inside it, as 长寿命 hides 长寿."""
        self._districts = dict(names)
        longest_first = sorted(names, key=lambda name: (-len(name), name))
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def find(self, text: str) -> DistrictCode | None:
        """Return the district that a normalised text names most often, the first such if several, or None."""
        named = (self._districts[match.group()] for match in self._pattern.finditer(text))
        counted = Counter(district for district in named if district is not None)
        return counted.most_common(1)[0][0] if counted else None
