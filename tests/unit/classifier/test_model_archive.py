from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from services.classifier.adapters.model_archive import ModelArchive, UnknownVersionError
from services.classifier.adapters.model_store import ModelFolder, ModelSlot
from services.classifier.domain.errors import ModelDamagedError
from tests.unit.classifier.builders import NOW, save_model, shifted, some_parameters

if TYPE_CHECKING:
    from pathlib import Path

FIRST, SECOND = "20261123-abcdef01", "20261123-12345678"


@pytest.fixture
def archive(tmp_path: Path) -> ModelArchive:
    """One version is served, another stands ready."""
    save_model(tmp_path)
    save_model(tmp_path / "versions" / SECOND, fingerprint="1234567890", parameters=shifted(some_parameters()))
    return ModelArchive(tmp_path)


def served(archive: ModelArchive) -> str:
    return archive.served.load().release.version


def test_a_version_that_is_promoted_is_served_and_the_one_before_is_kept(archive: ModelArchive) -> None:
    before = archive.promote(SECOND, now=NOW, reason="better")

    assert (before, served(archive)) == (FIRST, SECOND)
    assert {card["version"] for card in archive.known()} == {FIRST, SECOND}
    assert archive.history() == [{"time": NOW.isoformat(), "action": "promote", "from": FIRST, "to": SECOND, "reason": "better"}]


def test_a_rollback_serves_the_version_before_byte_by_byte(archive: ModelArchive) -> None:
    card = (archive.served.path / "card.json").read_bytes()
    archive.promote(SECOND, now=NOW, reason="better")

    went, came = archive.rollback(now=NOW, reason="worse")

    assert (went, came, served(archive)) == (SECOND, FIRST, FIRST)
    assert (archive.served.path / "card.json").read_bytes() == card


def test_there_is_nothing_before_the_first_and_a_rollback_is_no_way_forward(archive: ModelArchive) -> None:
    with pytest.raises(UnknownVersionError):
        archive.rollback(now=NOW, reason="")
    archive.promote(SECOND, now=NOW, reason="better")
    archive.rollback(now=NOW, reason="worse")
    with pytest.raises(UnknownVersionError):
        archive.rollback(now=NOW, reason="once more")

    assert served(archive) == FIRST


def test_a_running_slot_follows_promotion_and_rollback(archive: ModelArchive) -> None:
    slot = ModelSlot(ModelFolder(archive.served.path))
    slot.follow()

    versions = []
    for change in (lambda: archive.promote(SECOND, now=NOW, reason=""), lambda: archive.rollback(now=NOW, reason="")):
        change()
        assert slot.follow()
        versions.append(slot.current().release.version)

    assert versions == [SECOND, FIRST]


def test_a_reader_that_read_the_card_before_still_finds_its_arrays(archive: ModelArchive) -> None:
    arrays = archive.served.card()["file"]

    archive.promote(SECOND, now=NOW, reason="")

    assert (archive.served.path / arrays).exists()


def test_a_damaged_version_is_not_promoted(archive: ModelArchive) -> None:
    for file in archive.version(SECOND).path.glob("model-*.npz"):
        file.write_bytes(b"")

    with pytest.raises(ModelDamagedError):
        archive.promote(SECOND, now=NOW, reason="")

    assert served(archive) == FIRST
    assert archive.history() == []


@pytest.mark.parametrize("version", ["", "../../etc", ".", "unknown"])
def test_what_is_no_version_is_refused(archive: ModelArchive, version: str) -> None:
    with pytest.raises(UnknownVersionError):
        archive.promote(version, now=NOW, reason="")


def test_promoting_what_is_served_changes_nothing(archive: ModelArchive) -> None:
    archive.promote(SECOND, now=NOW, reason="")
    archive.promote(SECOND, now=NOW, reason="again")

    assert len(archive.history()) == 1


def test_a_comparison_is_read_where_it_was_written(archive: ModelArchive) -> None:
    (archive.version(SECOND).path / "comparison.json").write_text(json.dumps({"promotable": True}), encoding="utf-8")

    assert archive.comparison(SECOND) == {"promotable": True}
    assert archive.comparison(FIRST) is None
