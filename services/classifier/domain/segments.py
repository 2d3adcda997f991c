"""The parts of a text that may each raise a matter of their own."""

from __future__ import annotations

import re

_SHORTEST = 5
_MOST = 12

_BREAK = re.compile(
    r"[。;!?\n！？；]+|(?<![0-9.])[1-9][.、)](?![0-9])|[一二三四五六七八九]、|(?:第[一二三四五](?!年|季|批|次|期|产|方))"
    r"|(?=另外|还有(?!没|多久|什么)|顺便|顺带|同时|其次|此外|再有|再就是|再者|还想问|也想问)",
)


def segments(text: str) -> list[str]:
    """Return the parts of a normalised text, in their order; none if it has only one."""
    parts = [part.strip(" ,、:") for part in _BREAK.split(text)]
    long_enough = [part for part in parts if len(part) >= _SHORTEST]
    return long_enough[:_MOST] if len(long_enough) > 1 else []
