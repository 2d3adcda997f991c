"""The versions of a model beside the folder from which it is served: promoting one, and going back.

    build/model/                  served: card.json names the arrays
    build/model/versions/<v>/     every version that was built to be compared, or that was served before another
    build/model/history.jsonl     which version followed which, when and why

Promoting copies the arrays first and the card last and atomically, so that a running classifier sees the old model or the new one. The
arrays of the model before stay until the promotion after, for a reader that read its card a moment ago.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from services.classifier.adapters.model_store import CARD, ModelFolder
from services.classifier.domain.classification import ModelVersion
from services.classifier.domain.errors import ModelDamagedError, NoModelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

COMPARISON = "comparison.json"


class UnknownVersionError(LookupError):
    """There is no such version, or none to go back to."""


class ModelArchive:
    """The versions beside a served model."""

    def __init__(self, served: Path) -> None:
        self.served = ModelFolder(served)
        self.versions = served / "versions"
        self._history = served / "history.jsonl"

    def version(self, version: str) -> ModelFolder:
        """Return the folder of a version, which may not be there yet."""
        if not version or "/" in version or version.startswith("."):
            raise UnknownVersionError(version)
        return ModelFolder(self.versions / version)

    def known(self) -> Iterator[dict[str, Any]]:
        """Yield the card of each version, the oldest first; damaged ones are left out."""
        cards = []
        for folder in self.versions.glob("*/"):
            try:
                cards.append(ModelFolder(folder).card())
            except (NoModelError, ModelDamagedError):
                continue
        yield from sorted(cards, key=lambda card: str(card["train_time"]))

    def comparison(self, version: str) -> dict[str, Any] | None:
        """Return how a version compared with the one that was served when it was built; None if nobody looked."""
        path = self.version(version).path / COMPARISON
        if not path.exists():
            return None
        comparison: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return comparison

    def promote(self, version: str, *, now: datetime, reason: str, action: str = "promote") -> ModelVersion:
        """Serve a version; returns the one that was served before.

        Raises:
            UnknownVersionError: There is no such version.
            ModelDamagedError: It must not be served, or the one that is served now is damaged.
            NoModelError: None is served now.
        """
        chosen = self.version(version)
        if not (chosen.path / CARD).exists():
            raise UnknownVersionError(version)
        chosen.load()
        before = self._keep_served()
        if before["version"] != version:
            self._serve(chosen, before)
            self._note({"time": now.isoformat(), "action": action, "from": before["version"], "to": version, "reason": reason})
        return ModelVersion(before["version"])

    def rollback(self, *, now: datetime, reason: str) -> tuple[ModelVersion, ModelVersion]:
        """Serve the version that was served before the present one; returns the present one and that one.

        Raises:
            UnknownVersionError: There was none before, or it is gone.
            ModelDamagedError: A version is damaged.
            NoModelError: None is served now.
        """
        present = self.served.card()["version"]
        earlier = [each["from"] for each in self.history() if each["action"] == "promote" and each["to"] == present]
        if not earlier:
            raise UnknownVersionError(present)
        return self.promote(earlier[-1], now=now, reason=reason, action="rollback"), ModelVersion(earlier[-1])

    def history(self) -> list[dict[str, Any]]:
        """Return every change of the served version, the oldest first."""
        if not self._history.exists():
            return []
        return [json.loads(line) for line in self._history.read_text(encoding="utf-8").splitlines()]

    def _keep_served(self) -> dict[str, Any]:
        """Put a copy of the served model among the versions, so that there is a way back; returns its card."""
        card = self.served.card()
        kept = self.version(card["version"]).path
        if not (kept / CARD).exists():
            self.served.load()
            kept.mkdir(parents=True, exist_ok=True)
            for path in self._files(self.served.path):
                _copy(path, kept)
        return card

    def _serve(self, chosen: ModelFolder, before: dict[str, Any]) -> None:
        for path in self._files(chosen.path):
            _copy(path, self.served.path)
        needed = {before["file"], chosen.card()["file"]}
        for old in self.served.path.glob("model-*.npz"):
            if old.name not in needed:
                old.unlink()

    def _files(self, folder: Path) -> list[Path]:
        """Return a folder's own files, the card last."""
        files = [path for path in sorted(folder.iterdir()) if path.is_file() and path.name not in {CARD, self._history.name}]
        return [*files, folder / CARD]

    def _note(self, entry: dict[str, str]) -> None:
        with self._history.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(entry, ensure_ascii=False) + "\n")


def _copy(path: Path, folder: Path) -> None:
    partial = folder / f"{path.name}.partial"
    shutil.copyfile(path, partial)
    partial.replace(folder / path.name)
