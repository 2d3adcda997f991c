"""Tables in documents that a script writes, between two comments: the rest of the document is people's.

<!-- begin access -->
| generated | table |
<!-- end access -->
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[1]
SERVICES = ("intake", "classifier", "dispatcher", "sla")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main(document: Path, sections: Mapping[str, str], description: str | None) -> int:
    """Write sections into a document, or with `--check` compare them; returns the process's exit code."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    arguments = parser.parse_args()
    present = document.read_text(encoding="utf-8")
    fresh = replace_sections(present, sections)
    if not arguments.check:
        document.write_text(fresh, encoding="utf-8")
    elif fresh != present:
        sys.stderr.write(f"{document.relative_to(ROOT)} is not what the code says: run this without --check\n")
        return 1
    return 0


def replace_sections(text: str, sections: Mapping[str, str]) -> str:
    """Return a document with the content of its sections replaced.

    Raises:
        ValueError: The document lacks a section's comments.
    """
    for name, content in sections.items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        head, found_begin, rest = text.partition(begin)
        _, found_end, tail = rest.partition(end)
        if not (found_begin and found_end):
            raise ValueError(f"the document has no section {name}: write {begin} and {end} where it belongs")
        text = f"{head}{begin}\n{content}\n{end}{tail}"
    return text
