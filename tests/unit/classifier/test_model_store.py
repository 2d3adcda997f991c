from __future__ import annotations

import hashlib
import json
import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest

from services.classifier.adapters.model_store import ModelFolder, ModelSlot
from services.classifier.domain.errors import ModelDamagedError, NoModelError
from tests.unit.classifier.builders import recogniser, save_model, shifted, some_classes, some_parameters

if TYPE_CHECKING:
    from pathlib import Path


def arrays_file(folder: Path) -> Path:
    (file,) = folder.glob("model-*.npz")
    return file


def rewrite_card(folder: Path, **changes: object) -> None:
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    (folder / "card.json").write_text(json.dumps({**card, **changes}), encoding="utf-8")


def test_a_saved_model_answers_as_before(tmp_path: Path) -> None:
    texts = ["园区老是停电", "项目部欠款", "环评"]

    loaded = save_model(tmp_path).load()

    assert loaded.recognise(texts) == recogniser().recognise(texts)
    assert loaded.classes == some_classes()
    assert loaded.district("璧山的厂") == "500120"
    assert loaded.release.version == "20261123-abcdef01"


def test_a_folder_without_a_card_holds_no_model(tmp_path: Path) -> None:
    with pytest.raises(NoModelError):
        ModelFolder(tmp_path / "nothing").load()


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    folder = save_model(tmp_path)
    file = arrays_file(tmp_path)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)

    with pytest.raises(ModelDamagedError, match="SHA-256"):
        folder.load()


def test_a_missing_file_of_arrays_is_noticed(tmp_path: Path) -> None:
    folder = save_model(tmp_path)
    arrays_file(tmp_path).unlink()

    with pytest.raises(ModelDamagedError, match="is missing"):
        folder.load()


def test_a_card_that_is_not_json_is_noticed(tmp_path: Path) -> None:
    folder = save_model(tmp_path)
    (tmp_path / "card.json").write_text("{", encoding="utf-8")

    with pytest.raises(ModelDamagedError, match="not JSON"):
        folder.load()


def test_a_card_without_a_threshold_is_noticed(tmp_path: Path) -> None:
    folder = save_model(tmp_path)
    rewrite_card(tmp_path, policy={})

    with pytest.raises(ModelDamagedError, match="threshold"):
        folder.load()


def test_arrays_that_do_not_fit_the_classes_are_noticed(tmp_path: Path) -> None:
    folder = save_model(tmp_path)
    rewrite_card(tmp_path, classes=[])

    with pytest.raises(ModelDamagedError, match="weights"):
        folder.load()


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("a pickle was opened",))


def test_a_pickle_is_never_opened_even_if_its_hash_is_right(tmp_path: Path) -> None:
    folder = save_model(tmp_path)
    file = arrays_file(tmp_path)
    np.savez(file, keys=np.array([_Bomb()], dtype=object))
    rewrite_card(tmp_path, sha256=_sha256(file))

    with pytest.raises(ModelDamagedError, match="ValueError"):
        folder.load()


def test_a_bare_pickle_is_never_opened_either(tmp_path: Path) -> None:
    folder = save_model(tmp_path)
    file = arrays_file(tmp_path)
    file.write_bytes(pickle.dumps(_Bomb()))
    rewrite_card(tmp_path, sha256=_sha256(file))

    with pytest.raises(ModelDamagedError):
        folder.load()


def test_a_card_cannot_name_a_file_outside_its_folder(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model")
    outside = tmp_path / "outside.npz"
    arrays_file(tmp_path / "model").rename(outside)
    rewrite_card(tmp_path / "model", file="../outside.npz")

    with pytest.raises(ModelDamagedError, match="is missing"):
        folder.load()


def test_a_new_model_replaces_the_old_one_and_its_file(tmp_path: Path) -> None:
    save_model(tmp_path)

    folder = save_model(tmp_path, fingerprint="1234567890", parameters=shifted(some_parameters()))

    assert folder.load().release.version == "20261123-12345678"
    assert len(list(tmp_path.iterdir())) == 2


def test_an_empty_slot_says_so() -> None:
    with pytest.raises(NoModelError):
        ModelSlot(ModelFolder).current()  # type: ignore[arg-type]  # never looked at


def test_a_slot_takes_up_another_model_and_keeps_one_that_is_the_same(tmp_path: Path) -> None:
    folder = save_model(tmp_path)
    slot = ModelSlot(folder)

    first, again = slot.follow(), slot.follow()
    before = slot.current()
    save_model(tmp_path, fingerprint="1234567890", parameters=shifted(some_parameters()))
    then = slot.follow()

    assert (first, again, then) == (True, False, True)
    assert before.release.version == "20261123-abcdef01"
    assert slot.current().release.version == "20261123-12345678"


def test_a_slot_keeps_its_model_when_the_folder_is_damaged(tmp_path: Path) -> None:
    slot = ModelSlot(save_model(tmp_path))
    slot.follow()
    save_model(tmp_path, fingerprint="1234567890", parameters=shifted(some_parameters()))
    arrays_file(tmp_path).write_bytes(b"")

    with pytest.raises(ModelDamagedError):
        slot.follow()

    assert slot.current().release.version == "20261123-abcdef01"


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
