"""Training from texts to a model folder.

texts ─► models without each writer ─► calibration, bar for abstaining, figures
    └──► model of all texts ─────────────────────────────────────────────────► folder: arrays, card, pictures
"""

from __future__ import annotations

import hashlib
import platform
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from functools import partial
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
    from collections.abc import Callable, Mapping, Sequence
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


# Few classes with long texts want longer n-grams and no help from naive Bayes, many classes with few texts the opposite.
_BASE = Settings()
CANDIDATES = (
    _BASE,
    replace(_BASE, longest=3),
    replace(_BASE, longest=3, naive_bayes=0.2, slack=2.0),
    replace(_BASE, longest=3, naive_bayes=0.0, slack=2.0),
)


_LEAST_TEXTS = 5


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


class TooLittleDataError(Exception):
    """There is too little to learn from: models that leave a part of the texts out need each class in the rest."""

    def __init__(self) -> None:
        super().__init__(f"too little to learn from: at least two classes must have {_LEAST_TEXTS} texts each")


class UnlabelledError(Exception):
    """A text has no label to judge an answer by.

    Attributes:
        text_id: The text's id, or its position in its file.
    """

    def __init__(self, text_id: str) -> None:
        super().__init__(f"text {text_id!r} has no `label`")
        self.text_id = text_id


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRequest:
    """What to train.

    Attributes:
        data: Files of texts with their classes.
        out: Model folder.
        catalogue: Folder of the catalogue; None to take the classes from the texts, for measuring on other data.
        settings: How to train; None tries the candidates and takes the one that is right most often across writers.
        seed: Of all that is random, when candidates are tried.
        precision: Share of right answers aimed at where the model does not abstain.
        least_informative: Least number of known characters for an answer.
        learnt: Texts that outcomes of tickets named a class for: learnt from, never judged by.
        about: What else the card is to tell.
    """

    data: tuple[Path, ...]
    out: Path
    catalogue: Path | None = catalogue.DEFAULT
    settings: Settings | None = None
    seed: int = 0
    precision: float = 0.95
    least_informative: int = 2
    learnt: tuple[Example, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class World:
    """Classes, district names and pseudo-texts: what is known before any text."""

    classes: Sequence[RequestClass]
    districts: dict[str, DistrictCode | None]
    phrases: Sequence[Example]


def fingerprint(request: TrainingRequest) -> str:
    """Return a hash of all that the model depends on: texts, catalogue, ontology, code, settings and libraries."""
    files = [*request.data, *ontology.FOLDER.glob("*/*.txt"), *_CODE]
    if request.catalogue is not None:
        files += [request.catalogue / name for name in ("classes.csv", "districts.csv", "district_aliases.csv")]
    libraries = f"{np.__version__} {scipy.__version__} {sklearn.__version__} {platform.machine()}"
    settings = f"{request.settings or CANDIDATES} {request.seed}"
    rest = f"{settings} {request.precision} {request.least_informative} {request.catalogue is None} {libraries}"
    if request.learnt:
        rest += f" {request.learnt}"
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


def has_learnt(folder: Path) -> bool:
    """Say whether a folder holds a model that learnt from outcomes and can be served: training from texts alone would lose that."""
    model = ModelFolder(folder)
    try:
        model.load()
        return "learnt" in model.card()
    except (NoModelError, ModelDamagedError):
        return False


def train(request: TrainingRequest, *, now: datetime, step: Callable[[str], None]) -> dict[str, Any]:
    """Train a model, judge it, write it to its folder; returns the card.

    Args:
        request: What to train.
        now: The training time, for the version.
        step: Told in a few words what is done next.

    Raises:
        UnreadableDataError: A file is not understood.
        UnknownLabelError: A text's class is not among those to be learnt.
        TooLittleDataError: There are too few texts.
    """
    step("read texts")
    examples = read_examples(request.data)
    tried = _try_candidates(request, examples, step)
    known, material, across = tried.known, tried.material, tried.folds
    across_answers, policy = judge(examples, material, tried.scores, across, request)
    within = mixed(material.targets, material.settings.seed)
    within_scores = out_of_fold(material, within, lambda name: step(f"without mixed part {name}"))
    within_answers, _ = judge(examples, material, within_scores, within, request)

    step("all texts")
    linear = material.fit(np.arange(len(examples)))
    calibration = Calibration.learn(tried.scores, _acceptable(examples, material.labels))
    evaluation = {"across_writers": report(across_answers), "within_writers": report(within_answers)}
    parameters = LinearParameters(
        keys=linear.tfidf.keys,
        idf=linear.tfidf.idf,
        weights=np.ascontiguousarray(linear.weights, np.float32),
        bias=linear.bias.astype(np.float32),
        slope=calibration.slope,
        shift=calibration.shift,
        longest=np.array([material.settings.longest], np.int32),
    )
    step("write")
    folder = ModelFolder(request.out)
    folder.save(
        parameters,
        classes=known.classes,
        districts=known.districts,
        policy=policy,
        train_time=now,
        about={
            "fingerprint": fingerprint(request),
            "data_sha256": digest_of(request.data),
            "training_texts": len(examples) + len(request.learnt),
            "cross_validated_accuracy": evaluation["across_writers"]["top1_strict"],
            "settings": asdict(material.settings),
            "settings_tried": tried.comparison,
            "features": len(parameters.keys),
            "evaluation": evaluation,
            **request.about,
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
        TooLittleDataError: There are too few texts.
    """
    examples = read_examples(request.data)
    tried = _try_candidates(request, examples, step)
    return report(judge(examples, tried.material, tried.scores, tried.folds, request)[0])


def judge(
    examples: Sequence[Example],
    material: Material,
    scores: NDArray[np.float32],
    folds: Folds,
    request: TrainingRequest,
) -> tuple[list[Answer], AbstainPolicy]:
    """Return the answers that held-out scores give, calibrated by the other folds, and the policy that reaches the precision aimed at."""
    acceptable = _acceptable(examples, material.labels)
    probabilities = cross_calibrated(scores, acceptable, folds)
    ranking = np.argsort(-probabilities, axis=1, kind="stable")
    confidence = probabilities.max(axis=1)
    right = acceptable[np.arange(len(examples)), ranking[:, 0]]
    policy = AbstainPolicy(abstain_bar(confidence, right, request.precision), request.least_informative)
    answers = [
        Answer(example, tuple(material.labels[column] for column in order), probability, abstained=probability < policy.threshold)
        for example, order, probability in zip(examples, ranking[:, :5].tolist(), confidence.tolist(), strict=True)
    ]
    return answers, policy


def _acceptable(examples: Sequence[Example], labels: Sequence[str]) -> NDArray[np.bool_]:
    """Return for each text and class whether the class counts as right."""
    column = {label: index for index, label in enumerate(labels)}
    acceptable = np.zeros((len(examples), len(labels)), np.bool_)
    for row, example in enumerate(examples):
        acceptable[row, [column[label] for label in (example.label, *example.alt) if label in column]] = True
    return acceptable


@dataclass(frozen=True, slots=True)
class _Tried:
    """The best of the candidates.

    Attributes:
        known: What was known before any text.
        material: Texts made ready, with the settings that were best.
        folds: The writers, or mixed parts where there is one writer only.
        scores: Of each text by a model without its fold.
        comparison: Right first answers by each candidate.
    """

    known: World
    material: Material
    folds: Folds
    scores: NDArray[np.float32]
    comparison: list[dict[str, float]]


def _try_candidates(request: TrainingRequest, examples: Sequence[Example], step: Callable[[str], None]) -> _Tried:
    best: _Tried | None = None
    best_right = -1.0
    comparison: list[dict[str, float]] = []
    for number, settings in enumerate(_candidates(request), start=1):
        known = world(request, settings, examples)
        material = _material(examples, known, settings)
        writers = by_writer([example.batch for example in examples])
        folds = writers if len(writers) > 1 else mixed(material.targets, settings.seed)
        scores = out_of_fold(material, folds, partial(_tell, step, number))
        right = float((scores.argmax(axis=1) == material.targets).mean())
        comparison.append({**asdict(settings), "right": right})
        if right > best_right:
            best, best_right = _Tried(known, material, folds, scores, comparison), right
    if best is None:
        message = "there are no candidate settings"
        raise ValueError(message)
    return best


def _tell(step: Callable[[str], None], number: int, fold: str) -> None:
    step(f"setting {number}, without writer {fold}")


def _candidates(request: TrainingRequest) -> Sequence[Settings]:
    return [request.settings] if request.settings is not None else [replace(each, seed=request.seed) for each in CANDIDATES]


def world(request: TrainingRequest, settings: Settings, examples: Sequence[Example]) -> World:
    """Return what is known before any text; what was learnt from outcomes counts as such, so that no text is judged by it."""
    if request.catalogue is None:
        return World(catalogue.classes_named([example.label for example in examples]), {}, request.learnt)
    phrases = [
        *ontology.read_phrases(ontology.FOLDER / "terms", settings.term_weight),
        *ontology.read_phrases(ontology.FOLDER / "plain", settings.plain_weight),
        *request.learnt,
    ]
    return World(catalogue.read_classes(request.catalogue), catalogue.read_district_names(request.catalogue), phrases)


def _material(examples: Sequence[Example], known: World, settings: Settings) -> Material:
    labels = [each.code for each in known.classes]
    for example in (*examples, *known.phrases):
        if example.label not in labels:
            raise UnknownLabelError(example.label, example.text[:40])
    often = [label for label, texts in Counter(example.label for example in examples).items() if texts >= _LEAST_TEXTS]
    if len(often) < 2:  # noqa: PLR2004 - one class leaves nothing to tell apart
        raise TooLittleDataError
    return Material(examples, known.phrases, labels, settings)


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
        UnlabelledError: A text has no label.
    """
    recogniser = ModelFolder(folder).load()
    examples = read_examples(data)
    for example in examples:
        if not example.label:
            raise UnlabelledError(example.id)
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
