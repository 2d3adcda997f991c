"""The answer about one text, and the rule by which a model would rather have a person decide."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NewType

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from services.classifier.domain.flags import Flag

ClassCode = NewType("ClassCode", str)
DistrictCode = NewType("DistrictCode", str)
ModelVersion = NewType("ModelVersion", str)

OTHER = ClassCode("other")
"""The class of all requests that belong to none of the catalogue's."""


class AbstainReason(StrEnum):
    """Why a model gives no answer of its own."""

    UNSURE = "unsure"
    OUT_OF_SCOPE = "out_of_scope"
    TOO_LITTLE = "too_little"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestClass:
    """A class of requests (问题类别).

    Attributes:
        code: Code of the catalogue.
        name_zh: Chinese name.
        name_en: English name.
        domain_zh: Chinese name of the domain that it belongs to.
    """

    code: ClassCode
    name_zh: str
    name_en: str
    domain_zh: str


@dataclass(frozen=True, slots=True)
class ClassProbability:
    """A class with its calibrated probability, 0–1."""

    code: ClassCode
    probability: float


@dataclass(frozen=True, slots=True)
class EvidenceSpan:
    """A part of the text that carried the decision.

    Attributes:
        start: First character, from 0, in Unicode code points.
        end: One past the last character.
        weight: Contribution to the first class's score; comparable within one answer only.
    """

    start: int
    end: int
    weight: float


@dataclass(frozen=True, slots=True)
class Slot:
    """A value found in the text.

    Attributes:
        key: What it is, e.g. `amount`.
        value: The value in one spelling, e.g. yuan as a decimal number.
        start: First character, from 0, in Unicode code points.
        end: One past the last character.
    """

    key: str
    value: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Recognition:
    """What a recogniser found in one text.

    Attributes:
        classes: Every class that the model knows, best first; the probabilities add up to 1.
        evidence: Strongest parts of the text, in their order in the text.
        informative: How many of the text's letters and digits are part of something that the model knows.
        issues: Classes of all the matters that the text raises, the main one first.
    """

    classes: tuple[ClassProbability, ...]
    evidence: tuple[EvidenceSpan, ...]
    informative: int
    issues: tuple[ClassCode, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """The answer.

    Attributes:
        classes: Best first.
        abstain_reason: Why the model would rather have a person decide; None if it would not.
        evidence: Strongest parts of the text, in their order in the text.
        issues: Classes of all the matters that the text raises, the main one first.
        district: District that the text names; None if it names none.
        slots: Values found, in their order in the text.
        model_version: Which model answered.
        characters: How many letters and digits the text has.
        unknown_characters: How many of them are no part of anything that the model knows.
        flags: What makes the request urgent or its writer angry, in the order of the text.
        adviser: Which language model's advice the answer takes up; empty if none's.
    """

    classes: tuple[ClassProbability, ...]
    abstain_reason: AbstainReason | None
    evidence: tuple[EvidenceSpan, ...]
    issues: tuple[ClassCode, ...]
    district: DistrictCode | None
    slots: tuple[Slot, ...]
    model_version: ModelVersion
    characters: int = 0
    unknown_characters: int = 0
    flags: tuple[Flag, ...] = ()
    adviser: str = ""

    @property
    def abstained(self) -> bool:
        """True if the model would rather have a person decide."""
        return self.abstain_reason is not None


@dataclass(frozen=True, slots=True)
class AbstainPolicy:
    """When a model abstains.

    Attributes:
        threshold: Least probability of the first class for an answer, 0–1.
        least_informative: Least number of informative characters for an answer.
    """

    threshold: float
    least_informative: int

    def reason(self, recognition: Recognition) -> AbstainReason | None:
        """Return why to abstain from this answer, or None to give it.

        A sure `other` is an answer like any: the text is known to be out of scope. The reason `OUT_OF_SCOPE` is for an unsure answer in
        which `other` is one of the two best.
        """
        if recognition.informative < self.least_informative:
            return AbstainReason.TOO_LITTLE
        if recognition.classes[0].probability >= self.threshold:
            return None
        if OTHER in {each.code for each in recognition.classes[:2]}:
            return AbstainReason.OUT_OF_SCOPE
        return AbstainReason.UNSURE


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRelease:
    """A trained model that can answer.

    Attributes:
        version: Date and short hash of the training data, settings and code.
        sha256: SHA-256 of the model file, hex.
        train_time: When it was trained.
        training_texts: Number of training texts.
        cross_validated_accuracy: Share of right first answers on texts of writers that it had not seen, 0–1.
        policy: When it abstains.
        card: The model card, JSON.
    """

    version: ModelVersion
    sha256: str
    train_time: datetime
    training_texts: int
    cross_validated_accuracy: float
    policy: AbstainPolicy
    card: str


def best(classes: Sequence[ClassProbability], count: int) -> tuple[ClassProbability, ...]:
    """Return the first `count` of classes that are ranked already."""
    return tuple(classes[:count])
