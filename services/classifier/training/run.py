"""Training from texts to a model folder.

texts ─► models without each writer ─► calibration, bar for abstaining, figures
    └──► model of all texts ─────────────────────────────────────────────────► folder: arrays, card, pictures
"""

from __future__ import annotations

import hashlib
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
import sklearn

from services.classifier.adapters.linear_model import LinearParameters
from services.classifier.adapters.model_store import ModelFolder
from services.classifier.application.answering import answers
from services.classifier.domain.classification import AbstainPolicy
from services.classifier.domain.errors import ModelDamagedError, NoModelError
from services.classifier.training import catalogue, charts, ontology
from services.classifier.training.calibration import Calibration, abstain_bar
from services.classifier.training.card import markdown
from services.classifier.training.evaluation import Answer, report
from services.classifier.training.examples import digest_of, read_examples
from services.classifier.training.fit import Material, Settings
from services.classifier.training.folds import Folds, by_writer, cross_calibrated, mixed, out_of_fold

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from services.classifier.domain.classification import DistrictCode, RequestClass
    from services.classifier.training.examples import Example

CORPUS = Path(__file__).parent / "corpus"

_HERE = Path(__file__).parent
_CODE = (
    *sorted(_HERE.glob("*.py")),
    *(_HERE.parent / "adapters" / name for name in ("ngrams.py", "linear_model.py", "model_store.py")),
    *(_HERE.parent / "domain" / name for name in ("text.py", "traditional.py", "classification.py")),
)


class UnknownLabelError(Exception):
    """A text has a class that is not among those to be learnt, or none.

    Attributes:
        label: The label.
        text: Beginning of the text.
    """

    def __init__(self, label: str, text: str) -> None:
        super().__init__(f"label {label!r} of {text!r} is not among the classes")
        self.label = label
        self.text = text


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRequest:
    """What to train.

    Attributes:
        data: Files of texts with their classes.
        out: Model folder.
        catalogue: Folder of the catalogue; None to take the classes from the texts, for measuring on other data.
        settings: How to train.
        precision: Share of right answers aimed at where the model does not abstain.
        least_informative: Least number of known characters for an answer.
    """

    data: tuple[Path, ...]
    out: Path
    catalogue: Path | None = catalogue.DEFAULT
    settings: Settings = field(default_factory=Settings)
    precision: float = 0.95
    least_informative: int = 2


@dataclass(frozen=True, slots=True)
class _World:
    """Classes, district names and pseudo-texts: what is known before any text."""

    classes: Sequence[RequestClass]
    districts: dict[str, DistrictCode | None]
    phrases: Sequence[Example]


def fingerprint(request: TrainingRequest) -> str:
    """Return a hash of all that the model depends on: texts, catalogue, ontology, code, settings and libraries."""
    files = [*request.data, *ontology.FOLDER.glob("*.txt"), *_CODE]
    if request.catalogue is not None:
        files += [request.catalogue / name for name in ("classes.csv", "districts.csv", "district_aliases.csv")]
    libraries = f"{np.__version__} {scipy.__version__} {sklearn.__version__} {platform.machine()}"
    rest = f"{request.settings} {request.precision} {request.least_informative} {request.catalogue is None} {libraries}"
    return hashlib.sha256(f"{digest_of(files)} {rest}".encode()).hexdigest()


def is_up_to_date(request: TrainingRequest) -> bool:
    """Say whether the folder holds the very model that this request would train."""
    folder = ModelFolder(request.out)
    try:
        if folder.card().get("fingerprint") != fingerprint(request):
            return False
        folder.load()
    except (NoModelError, ModelDamagedError):
        return False
    return True


def train(request: TrainingRequest, *, now: datetime, step: Callable[[str], None]) -> dict[str, Any]:
    """Train a model, judge it, write it to its folder; returns the card.

    Args:
        request: What to train.
        now: The training time, for the version.
        step: Told in a few words what is done next.

    Raises:
        UnreadableDataError: A file is not understood.
        UnknownLabelError: A text's class is not among those to be learnt.
    """
    step("read texts")
    examples = read_examples(request.data)
    world = _world(request, examples)
    material = _material(examples, world, request.settings)
    everything = np.arange(len(examples))

    within = mixed(material.targets, request.settings.seed)
    writers = by_writer([example.batch for example in examples])
    across = writers if len(writers) > 1 else within
    across_scores = out_of_fold(material, across, lambda name: step(f"without writer {name}"))
    across_answers, policy = judge(examples, material, across_scores, across, request)
    within_scores = out_of_fold(material, within, lambda name: step(f"without mixed part {name}"))
    within_answers, _ = judge(examples, material, within_scores, within, request)

    step("all texts")
    linear = material.fit(everything)
    calibration = Calibration.learn(across_scores, material.targets)
    evaluation = {"across_writers": report(across_answers), "within_writers": report(within_answers)}
    parameters = LinearParameters(
        keys=linear.tfidf.keys,
        idf=linear.tfidf.idf,
        weights=np.ascontiguousarray(linear.weights, np.float32),
        bias=linear.bias.astype(np.float32),
        slope=calibration.slope,
        shift=calibration.shift,
        longest=np.array([request.settings.longest], np.int32),
    )
    step("write")
    folder = ModelFolder(request.out)
    folder.save(
        parameters,
        classes=world.classes,
        districts=world.districts,
        policy=policy,
        train_time=now,
        about={
            "fingerprint": fingerprint(request),
            "data_sha256": digest_of(request.data),
            "training_texts": len(examples),
            "cross_validated_accuracy": evaluation["across_writers"]["top1_strict"],
            "settings": asdict(request.settings),
            "features": len(parameters.keys),
            "evaluation": evaluation,
        },
    )
    card = folder.card()
    _write_pictures(request, card)
    return card


def evaluate_across_writers(request: TrainingRequest, step: Callable[[str], None]) -> dict[str, Any]:
    """Return the figures for texts by models that never saw their writers; writes nothing.

    Raises:
        UnreadableDataError: A file is not understood.
        UnknownLabelError: A text's class is not among those to be learnt.
    """
    examples = read_examples(request.data)
    material = _material(examples, _world(request, examples), request.settings)
    writers = by_writer([example.batch for example in examples])
    scores = out_of_fold(material, writers, lambda name: step(f"without writer {name}"))
    return report(judge(examples, material, scores, writers, request)[0])


def judge(
    examples: Sequence[Example],
    material: Material,
    scores: NDArray[np.float32],
    folds: Folds,
    request: TrainingRequest,
) -> tuple[list[Answer], AbstainPolicy]:
    """Return the answers that held-out scores give, calibrated by the other folds, and the policy that reaches the precision aimed at."""
    probabilities = cross_calibrated(scores, material.targets, folds)
    ranking = np.argsort(-probabilities, axis=1, kind="stable")
    confidence = probabilities.max(axis=1)
    first = [material.labels[column] for column in ranking[:, 0]]
    right = np.array([code in (example.label, *example.alt) for code, example in zip(first, examples, strict=True)])
    policy = AbstainPolicy(abstain_bar(confidence, right, request.precision), request.least_informative)
    answers = [
        Answer(example, tuple(material.labels[column] for column in order), probability, abstained=probability < policy.threshold)
        for example, order, probability in zip(examples, ranking[:, :5].tolist(), confidence.tolist(), strict=True)
    ]
    return answers, policy


def _world(request: TrainingRequest, examples: Sequence[Example]) -> _World:
    if request.catalogue is None:
        return _World(catalogue.classes_named([example.label for example in examples]), {}, [])
    phrases = ontology.read_phrases(ontology.FOLDER, request.settings.phrase_weight)
    return _World(catalogue.read_classes(request.catalogue), catalogue.read_district_names(request.catalogue), phrases)


def _material(examples: Sequence[Example], world: _World, settings: Settings) -> Material:
    labels = [each.code for each in world.classes]
    for example in (*examples, *world.phrases):
        if example.label not in labels:
            raise UnknownLabelError(example.label, example.text[:40])
    return Material(examples, world.phrases, labels, settings)


def _write_pictures(request: TrainingRequest, card: dict[str, Any]) -> None:
    figures = card["evaluation"]["across_writers"]
    reliability = charts.reliability(
        [(point["probability"], point["right"], int(point["texts"])) for point in figures["reliability"]],
        figures["ece"],
    )
    curve = charts.risk_coverage(
        [(point["coverage"], point["precision"]) for point in figures["risk_coverage"]],
        request.precision,
        (figures["coverage"], figures["precision_when_answered"]),
    )
    (request.out / "reliability.svg").write_text(reliability, encoding="utf-8")
    (request.out / "risk_coverage.svg").write_text(curve, encoding="utf-8")
    (request.out / "card.md").write_text(markdown(card), encoding="utf-8")


def evaluate_model(folder: Path, data: Sequence[Path]) -> dict[str, Any]:
    """Return the figures of the model in a folder for texts; honest only for texts that it was not trained on.

    Raises:
        NoModelError: There is no model in the folder.
        ModelDamagedError: The model must not be served.
        UnreadableDataError: A file is not understood.
    """
    recogniser = ModelFolder(folder).load()
    examples = read_examples(data)
    given = answers(recogniser, [example.text for example in examples], len(recogniser.classes))
    judged = [
        Answer(example, tuple(each.code for each in answer.classes[:5]), answer.classes[0].probability, abstained=answer.abstained)
        for example, answer in zip(examples, given, strict=True)
    ]
    return {
        **report(judged),
        "model_version": recogniser.release.version,
        "seen_in_training": ModelFolder(folder).card().get("data_sha256") == digest_of(data),
    }
