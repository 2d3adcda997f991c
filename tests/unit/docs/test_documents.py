from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PARTS = ("docs", "services", "chassis", "kernel", "proto", "tests", "deploy", "catalogue")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(path for part in PARTS for path in (ROOT / part).rglob("*.md"))])
ARCHITECTURE = ROOT / "docs" / "architecture.md"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_something(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))

    missing = [link for link in links if not (document.parent / link).exists()]

    assert missing == []


def test_the_tests_that_guard_an_invariant_exist() -> None:
    section = ARCHITECTURE.read_text(encoding="utf-8").split("## Invariants", 1)[1]
    files = re.findall(r"`((?:unit|property|contract|integration|system|fault)/[\w/]+\.py)`", section)
    functions = re.findall(r"`(test_\w+)`", section)
    sources = [(ROOT / "tests" / name).read_text(encoding="utf-8") for name in files]

    unknown = [name for name in functions if not any(f"def {name}(" in source for source in sources)]

    assert files
    assert unknown == []


def test_every_invariant_is_guarded() -> None:
    section = ARCHITECTURE.read_text(encoding="utf-8").split("## Invariants", 1)[1]

    assert re.findall(r"^\| (I\d) \|", section, flags=re.MULTILINE) == [f"I{n}" for n in range(1, 9)]
