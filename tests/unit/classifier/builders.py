"""A small but real model, and what tests say often."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from services.classifier.adapters.linear_model import LinearParameters, LinearRecogniser
from services.classifier.adapters.model_store import ModelFolder
from services.classifier.domain.classification import (
    AbstainPolicy,
    ClassCode,
    Classification,
    ClassProbability,
    EvidenceSpan,
    ModelRelease,
    ModelVersion,
    Recognition,
)
from services.classifier.domain.districts import DistrictFinder
from services.classifier.domain.errors import NoModelError
from services.classifier.training import catalogue
from services.classifier.training.examples import Example, read_examples
from services.classifier.training.fit import Material, Settings
from services.classifier.training.run import CORPUS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from services.classifier.domain.classification import DistrictCode, RequestClass

NOW = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
LABELS = ("power_supply", "loan_financing", "business_registration", "eia_emission", "arrears_payment", "other")
POLICY = AbstainPolicy(threshold=0.6, least_informative=2)


@cache
def some_examples() -> tuple[Example, ...]:
    """Texts of a few classes by two writers."""
    chosen = read_examples([CORPUS / "batch_a.jsonl", CORPUS / "batch_b.jsonl"])
    return tuple(example for example in chosen if example.label in LABELS)


@cache
def some_classes() -> tuple[RequestClass, ...]:
    return tuple(each for each in catalogue.read_classes(catalogue.DEFAULT) if each.code in LABELS)


@cache
def district_names() -> dict[str, DistrictCode | None]:
    return catalogue.read_district_names(catalogue.DEFAULT)


@cache
def some_parameters() -> LinearParameters:
    """A model of a few classes, with a steep calibration."""
    labels = [each.code for each in some_classes()]
    linear = Material(some_examples(), [], labels, Settings()).fit(np.arange(len(some_examples())))
    return LinearParameters(
        keys=linear.tfidf.keys,
        idf=linear.tfidf.idf,
        weights=linear.weights,
        bias=linear.bias,
        slope=np.array([4.0], np.float32),
        shift=np.zeros(len(labels), np.float32),
        longest=np.array([Settings().longest], np.int32),
    )


@cache
def recogniser() -> LinearRecogniser:
    return LinearRecogniser(
        some_parameters(),
        release=release(),
        classes=some_classes(),
        districts=DistrictFinder(district_names()),
    )


def release(version: str = "20261123-abcdef01") -> ModelRelease:
    return ModelRelease(
        version=ModelVersion(version),
        sha256="0" * 64,
        train_time=NOW,
        training_texts=len(some_examples()),
        cross_validated_accuracy=0.82,
        policy=POLICY,
        card='{"note": "made for tests"}',
    )


def save_model(folder: Path, *, fingerprint: str = "abcdef0123456789", parameters: LinearParameters | None = None) -> ModelFolder:
    """Write the small model to a folder."""
    saved = ModelFolder(folder)
    saved.save(
        parameters or some_parameters(),
        classes=some_classes(),
        districts=district_names(),
        policy=POLICY,
        train_time=NOW,
        about={"fingerprint": fingerprint, "training_texts": len(some_examples()), "cross_validated_accuracy": 0.82},
    )
    return saved


def shifted(parameters: LinearParameters) -> LinearParameters:
    """Another model."""
    return replace(parameters, shift=parameters.shift + np.float32(0.5))


class FixedModels:
    """`Models` that hold one model, or none."""

    def __init__(self, held: LinearRecogniser | None) -> None:
        self._held = held

    def current(self) -> LinearRecogniser:
        if self._held is None:
            raise NoModelError
        return self._held


def recognition(*ranked: tuple[str, float], informative: int = 10) -> Recognition:
    classes = tuple(ClassProbability(ClassCode(code), probability) for code, probability in ranked)
    return Recognition(classes=classes, evidence=(), informative=informative, issues=(classes[0].code,))


def classification(ranked: Sequence[tuple[str, float]] = (("power_supply", 0.9), ("other", 0.1))) -> Classification:
    return Classification(
        classes=tuple(ClassProbability(ClassCode(code), probability) for code, probability in ranked),
        abstain_reason=None,
        evidence=(EvidenceSpan(0, 2, 0.5),),
        issues=(ClassCode(ranked[0][0]),),
        district=None,
        slots=(),
        model_version=ModelVersion("20261123-abcdef01"),
    )
