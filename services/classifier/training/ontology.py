"""What each class is about, as phrases: pseudo-texts that name matters which no training text happened to raise.

`terms` holds the words of the trade, `plain` how somebody says it who does not know them. A file holds blocks separated by blank lines: the
class's code, then lines of phrases separated by blanks.
"""

from __future__ import annotations

from pathlib import Path

from services.classifier.training.examples import Example

FOLDER = Path(__file__).parent / "ontology"


def read_phrases(folder: Path, weight: float) -> list[Example]:
    """Return every phrase in a folder as an example of its class, to count `weight` in training."""
    return [
        Example(text=phrase, label=label, weight=weight)
        for path in sorted(folder.glob("*.txt"))
        for label, *lines in (block.split("\n") for block in path.read_text(encoding="utf-8").strip().split("\n\n"))
        for line in lines
        for phrase in line.split()
    ]
