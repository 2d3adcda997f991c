"""How a recogniser's findings become answers; shared by the use cases that classify."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.classifier.domain.classification import Classification, best
from services.classifier.domain.flags import find_flags
from services.classifier.domain.slots import find_slots
from services.classifier.domain.text import normalise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.classifier.application.ports import Recogniser


def answers(recogniser: Recogniser, texts: Sequence[str], top_k: int) -> list[Classification]:
    """Return an answer a text, in their order, with the `top_k` best classes each."""
    uniform = [normalise(text) for text in texts]
    policy = recogniser.release.policy
    return [
        Classification(
            classes=best(recognition.classes, top_k),
            abstain_reason=policy.reason(recognition),
            evidence=recognition.evidence,
            issues=recognition.issues,
            district=recogniser.district(text),
            slots=find_slots(text),
            flags=find_flags(text),
            model_version=recogniser.release.version,
            characters=(characters := sum(map(str.isalnum, text))),
            unknown_characters=characters - recognition.informative,
        )
        for text, recognition in zip(uniform, recogniser.recognise(uniform), strict=True)
    ]
