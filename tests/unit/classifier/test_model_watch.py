from __future__ import annotations

from typing import TYPE_CHECKING, Self

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy.exc import OperationalError

from chassis.testing import ManualClock
from services.classifier.adapters.model_store import ModelFolder, ModelSlot
from services.classifier.adapters.timer import ModelWatch
from services.classifier.telemetry import ClassifierMetrics
from tests.unit.classifier.builders import NOW, save_model, shifted, some_parameters

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from services.classifier.domain.classification import ModelRelease


class Releases:
    """A database that can be away."""

    def __init__(self) -> None:
        self.committed: list[tuple[str, datetime]] = []
        self.away = False
        self._pending: list[tuple[str, datetime]] = []
        self.releases = self

    def open(self) -> Self:
        return self

    def __enter__(self) -> Self:
        if self.away:
            raise OperationalError("connect", {}, Exception())
        return self

    def __exit__(self, *_: object) -> None:
        self._pending = []

    def add(self, release: ModelRelease, activate_time: datetime) -> None:
        self._pending.append((release.version, activate_time))

    def commit(self) -> None:
        self.committed += self._pending


def watch(folder: Path, releases: Releases, registry: CollectorRegistry | None = None) -> tuple[ModelWatch, ModelSlot]:
    slot = ModelSlot(ModelFolder(folder))
    metrics = ClassifierMetrics(registry or CollectorRegistry())
    return ModelWatch(slot, releases.open, ManualClock(NOW), metrics), slot  # type: ignore[arg-type]  # stands in for the unit of work


def test_a_model_that_is_taken_up_is_recorded_once(tmp_path: Path) -> None:
    save_model(tmp_path)
    releases = Releases()
    watching, slot = watch(tmp_path, releases)

    for _ in range(3):
        watching.tick()

    assert slot.current().release.version == "20261123-abcdef01"
    assert releases.committed == [("20261123-abcdef01", NOW)]


def test_a_database_that_is_away_keeps_no_model_from_serving_and_is_told_later(tmp_path: Path) -> None:
    save_model(tmp_path)
    releases = Releases()
    releases.away = True
    watching, slot = watch(tmp_path, releases)

    with pytest.raises(OperationalError):
        watching.tick()
    served_meanwhile = slot.current().release.version
    releases.away = False
    watching.tick()

    assert served_meanwhile == "20261123-abcdef01"
    assert releases.committed == [("20261123-abcdef01", NOW)]


def test_an_empty_folder_is_waited_for(tmp_path: Path) -> None:
    releases = Releases()
    watching, slot = watch(tmp_path, releases)

    watching.tick()
    save_model(tmp_path)
    watching.tick()

    assert slot.current().release.version == "20261123-abcdef01"


def test_a_damaged_model_is_not_taken_up_and_the_gauge_tells_which_one_answers(tmp_path: Path) -> None:
    save_model(tmp_path)
    registry = CollectorRegistry()
    releases = Releases()
    watching, slot = watch(tmp_path, releases, registry)
    watching.tick()

    save_model(tmp_path, fingerprint="1234567890", parameters=shifted(some_parameters()))
    for file in tmp_path.glob("model-*.npz"):
        file.write_bytes(b"")
    watching.tick()

    assert slot.current().release.version == "20261123-abcdef01"
    assert releases.committed == [("20261123-abcdef01", NOW)]
    trained = "paidan_classifier_model_trained_timestamp_seconds"
    assert registry.get_sample_value(trained, {"version": "20261123-abcdef01"}) == NOW.timestamp()


def test_another_model_is_taken_up_recorded_and_shown(tmp_path: Path) -> None:
    save_model(tmp_path)
    registry = CollectorRegistry()
    releases = Releases()
    watching, slot = watch(tmp_path, releases, registry)
    watching.tick()

    save_model(tmp_path, fingerprint="1234567890", parameters=shifted(some_parameters()))
    watching.tick()

    trained = "paidan_classifier_model_trained_timestamp_seconds"
    assert slot.current().release.version == "20261123-12345678"
    assert [version for version, _ in releases.committed] == ["20261123-abcdef01", "20261123-12345678"]
    assert registry.get_sample_value(trained, {"version": "20261123-abcdef01"}) is None
