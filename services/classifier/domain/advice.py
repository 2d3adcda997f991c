"""What a language model says about a text on which the model abstained, and how far it is believed.

Its answer is checked before anything comes of it, since the text that it read may have told it what to say: the class must be one of the
catalogue's, and the words that it rests on must stand in the text. Even then it answers by itself only where the model that abstained
holds the same class for likely; elsewhere it is a better guess for the person who decides.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from services.classifier.domain.classification import ClassCode, ClassProbability, EvidenceSpan
from services.classifier.domain.personal_data import without_personal_data
from services.classifier.domain.text import IGNORED, normalise

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from services.classifier.domain.classification import Classification

_LEAST_LETTERS = 4
"""A text with fewer tells a language model no more than it tells us."""
_LEAST_EVIDENCE = 2
_FIELDS = frozenset({"class", "confidence", "evidence"})
_LIKELY = 3
"""Among so many of the model's best classes a class counts as likely; across writers the right one is there in 96 of 100 texts."""
_MOST_CERTAIN = 0.99


class AdviceRefusedError(Exception):
    """A language model's answer is not one that may be used; its text is not repeated here, since it may be anything.

    Attributes:
        problem: What is wrong, one of a few fixed words.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Question:
    """What a language model is asked.

    Attributes:
        text: The text, as `question` made it.
        submit_time: Since when somebody waits.
    """

    text: str
    submit_time: datetime


@dataclass(frozen=True, slots=True)
class Advice:
    """A checked answer.

    Attributes:
        class_code: The class that it names.
        confidence: How sure it says that it is, 0–1; not calibrated.
        start: First character of the words that it rests on.
        end: One past the last.
    """

    class_code: ClassCode
    confidence: float
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class AdvicePolicy:
    """How far advice is believed.

    Attributes:
        adviser: Which language model gives it; answers name it beside the model's version.
        threshold: Least confidence at which an answer may stand without a person, 0–1.
    """

    adviser: str
    threshold: float


def question(text: str) -> str | None:
    """Return what a language model is asked about a text: uniform characters, personal data hidden; None if there is too little in it."""
    asked = without_personal_data(text)
    return asked if sum(character.isalpha() for character in asked) >= _LEAST_LETTERS else None


def read_advice(answer: str, asked: str, codes: Collection[str]) -> Advice:
    """Return a language model's answer about `asked`, a text that `question` returned.

    Args:
        answer: Exactly one JSON object: `class`, one of `codes`; `confidence`, 0–1; `evidence`, a part of the text, word by word.
        asked: What it was asked about.
        codes: Classes that there are.

    Raises:
        AdviceRefusedError: It is anything else.
    """
    try:
        content = json.loads(answer, object_pairs_hook=_without_repetition, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise AdviceRefusedError("not_json") from error
    if not isinstance(content, dict) or content.keys() != _FIELDS:
        raise AdviceRefusedError("other_fields")
    code, confidence, evidence = content["class"], content["confidence"], content["evidence"]
    if not isinstance(code, str) or code not in codes:
        raise AdviceRefusedError("unknown_class")
    if isinstance(confidence, bool) or not isinstance(confidence, (int, float)) or not 0 <= confidence <= 1:
        raise AdviceRefusedError("no_confidence")
    start, end = _found(evidence, asked)
    return Advice(ClassCode(code), float(confidence), start, end)


def advised(classification: Classification, advice: Advice, policy: AdvicePolicy) -> Classification:
    """Return the answer with advice taken.

    The class named gets the confidence as its probability, the others share the rest as before, and all are ranked anew.
    """
    confidence = min(advice.confidence, _MOST_CERTAIN)
    likely = {each.code for each in classification.classes[:_LIKELY]}
    believed = advice.confidence >= policy.threshold and advice.class_code in likely
    classes = _reweighted(classification.classes, advice.class_code, confidence)
    first = classes[0].code
    named_first = first == advice.class_code
    return replace(
        classification,
        classes=classes,
        abstain_reason=None if believed and named_first else classification.abstain_reason,
        evidence=(EvidenceSpan(advice.start, advice.end, confidence),) if named_first else classification.evidence,
        issues=(first, *(code for code in classification.issues if code != first)),
        adviser=policy.adviser,
    )


def _reweighted(classes: Sequence[ClassProbability], code: ClassCode, probability: float) -> tuple[ClassProbability, ...]:
    before = next((each.probability for each in classes if each.code == code), 0.0)
    factor = (1 - probability) / (1 - before) if before < 1 else 0.0
    others = [ClassProbability(each.code, each.probability * factor) for each in classes if each.code != code]
    ranked = sorted([ClassProbability(code, probability), *others], key=lambda each: -each.probability)
    return tuple(ranked[: len(classes)])


def _found(evidence: object, asked: str) -> tuple[int, int]:
    """Return where the evidence stands in the text: its first place.

    Raises:
        AdviceRefusedError: It is no text, says nothing, or stands nowhere.
    """
    if not isinstance(evidence, str) or len(evidence) > len(asked):
        raise AdviceRefusedError("no_evidence")
    wanted = normalise(evidence).replace(IGNORED, " ").strip()
    start = asked.find(wanted)
    if start < 0 or sum(character.isalpha() for character in wanted) < _LEAST_EVIDENCE:
        raise AdviceRefusedError("no_evidence")
    return start, start + len(wanted)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        message = "a field comes twice"
        raise ValueError(message)
    return fields


def _no_number(name: str) -> float:
    raise ValueError(name)
