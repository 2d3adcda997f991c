"""Model folders: arrays in `model-<hash>.npz`, all else in `card.json`, which names the arrays' file and its SHA-256.

The card is written last and atomically, so that whoever reads a folder while it is replaced gets the old model or the new one. Arrays
are read with pickling forbidden, and only after their hash was found right: a model file cannot run code.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from services.classifier.adapters.linear_model import LinearParameters, LinearRecogniser
from services.classifier.domain.classification import AbstainPolicy, ClassCode, ModelRelease, ModelVersion, RequestClass
from services.classifier.domain.districts import DistrictFinder
from services.classifier.domain.errors import ModelDamagedError, NoModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.classifier.application.ports import Recogniser
    from services.classifier.domain.classification import DistrictCode

CARD = "card.json"


class ModelFolder:
    """A model on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def card(self) -> dict[str, Any]:
        """Return the card.

        Raises:
            NoModelError: There is none.
            ModelDamagedError: It is not JSON.
        """
        return self._parse(self._read_card())

    def load(self) -> LinearRecogniser:
        """Return a recogniser that serves the model.

        Raises:
            NoModelError: There is no card.
            ModelDamagedError: A file is missing, or not what the card says.
        """
        text = self._read_card()
        card = self._parse(text)
        try:
            classes = [_request_class(each) for each in card["classes"]]
            parameters = _parameters(self._verified(card["file"], card["sha256"]))
            release = _release(card, text)
            districts = DistrictFinder(card["districts"])
        except (KeyError, TypeError, ValueError, BadZipFile) as error:
            raise ModelDamagedError(str(self.path), f"{type(error).__name__}: {error}") from error
        _check_shapes(self.path, parameters, len(classes))
        return LinearRecogniser(parameters, release=release, classes=classes, districts=districts)

    def save(
        self,
        parameters: LinearParameters,
        *,
        classes: Sequence[RequestClass],
        districts: Mapping[str, DistrictCode | None],
        policy: AbstainPolicy,
        train_time: datetime,
        about: Mapping[str, Any],
    ) -> ModelVersion:
        """Write a model in place of the one that is there; returns its version.

        Args:
            parameters: Its arrays.
            classes: Its classes, in the order of the columns.
            districts: Names by which texts are searched for districts.
            policy: When it abstains.
            train_time: When it was trained.
            about: What else the card tells; `training_texts`, `cross_validated_accuracy` and `fingerprint` among it.
        """
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **parameters.arrays())
        content = buffer.getvalue()
        digest = hashlib.sha256(content).hexdigest()
        version = ModelVersion(f"{train_time:%Y%m%d}-{about['fingerprint'][:8]}")
        card = {
            "version": version,
            "file": f"model-{digest[:16]}.npz",
            "sha256": digest,
            "train_time": train_time.isoformat(),
            "policy": asdict(policy),
            **about,
            "classes": [asdict(each) for each in classes],
            "districts": dict(districts),
        }
        self.path.mkdir(parents=True, exist_ok=True)
        _write(self.path / card["file"], content)
        _write(self.path / CARD, json.dumps(card, ensure_ascii=False, indent=1).encode())
        for old in self.path.glob("model-*.npz"):
            if old.name != card["file"]:
                old.unlink()
        return version

    def _read_card(self) -> str:
        try:
            return (self.path / CARD).read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise NoModelError from error

    def _parse(self, text: str) -> dict[str, Any]:
        try:
            card: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise ModelDamagedError(str(self.path), f"{CARD} is not JSON") from error
        return card

    def _verified(self, file: str, sha256: str) -> bytes:
        path = self.path / Path(file).name
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise ModelDamagedError(str(self.path), f"{path.name} is missing") from error
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise ModelDamagedError(str(self.path), f"{path.name} has SHA-256 {found}, the card says {sha256}")
        return content


class ModelSlot:
    """`Models` that follows a folder: the model in it is loaded, and loaded anew when another is put there."""

    def __init__(self, folder: ModelFolder) -> None:
        self._folder = folder
        self._recogniser: Recogniser | None = None

    def current(self) -> Recogniser:
        """Return the model that answers now.

        Raises:
            NoModelError: None is loaded yet.
        """
        if self._recogniser is None:
            raise NoModelError
        return self._recogniser

    def follow(self) -> bool:
        """Load the folder's model if it is not the one that answers; returns whether it was loaded.

        Raises:
            NoModelError: The folder holds no model.
            ModelDamagedError: The folder's model must not be served; the one that answers stays.
        """
        serving = None if self._recogniser is None else self._recogniser.release
        if serving is not None and self._folder.card().get("sha256") == serving.sha256:
            return False
        self._recogniser = self._folder.load()
        return True


def _write(path: Path, content: bytes) -> None:
    partial = path.with_suffix(".partial")
    partial.write_bytes(content)
    partial.replace(path)


def _request_class(fields_of: Mapping[str, str]) -> RequestClass:
    return RequestClass(
        code=ClassCode(fields_of["code"]),
        name_zh=fields_of["name_zh"],
        name_en=fields_of["name_en"],
        domain_zh=fields_of["domain_zh"],
    )


def _release(card: Mapping[str, Any], text: str) -> ModelRelease:
    return ModelRelease(
        version=ModelVersion(card["version"]),
        sha256=card["sha256"],
        train_time=datetime.fromisoformat(card["train_time"]),
        training_texts=int(card["training_texts"]),
        cross_validated_accuracy=float(card["cross_validated_accuracy"]),
        policy=AbstainPolicy(float(card["policy"]["threshold"]), int(card["policy"]["least_informative"])),
        card=text,
    )


def _parameters(content: bytes) -> LinearParameters:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return LinearParameters(**{field.name: arrays[field.name] for field in fields(LinearParameters)})


def _check_shapes(path: Path, parameters: LinearParameters, classes: int) -> None:
    features = len(parameters.keys)
    expected = {
        "keys": ((features,), np.uint64),
        "idf": ((features,), np.float32),
        "weights": ((features, classes), np.float32),
        "bias": ((classes,), np.float32),
        "slope": ((1,), np.float32),
        "shift": ((classes,), np.float32),
        "longest": ((1,), np.int32),
    }
    for name, (shape, kind) in expected.items():
        array = getattr(parameters, name)
        if array.shape != shape or array.dtype != kind:
            raise ModelDamagedError(str(path), f"{name} is {array.dtype}{list(array.shape)}, expected {np.dtype(kind)}{list(shape)}")
    if features == 0:
        raise ModelDamagedError(str(path), "it knows no n-gram")
