"""How good answers are: the figures of the model card and of `paidan model evaluate`."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.classifier.domain.classification import OTHER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from services.classifier.training.examples import Example

_BINS = 15
_CURVE_POINTS = 20
_WORST = 20
_SHOWN_CHARACTERS = 80
_STEADY_COVERAGES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's answer to a text whose class is known.

    Attributes:
        example: The text.
        ranked: Codes, best first; at least three where the model has as many.
        probability: Of the first.
        abstained: Whether the model would rather have a person decide.
    """

    example: Example
    ranked: tuple[str, ...]
    probability: float
    abstained: bool

    @property
    def acceptable(self) -> frozenset[str]:
        """Codes that count as right."""
        return frozenset((self.example.label, *self.example.alt))

    @property
    def right(self) -> bool:
        """Whether the first code is acceptable."""
        return self.ranked[0] in self.acceptable


def report(answers: Sequence[Answer]) -> dict[str, Any]:
    """Return all figures; shares are 0–1. All but the `strict` ones and those by class accept the alternatives that a writer named."""
    answered = [answer for answer in answers if not answer.abstained]
    beside_scope = [answer for answer in answers if answer.example.label == OTHER]
    return {
        "texts": len(answers),
        "top1": _share(answer.right for answer in answers),
        "top3": _share(bool(answer.acceptable & set(answer.ranked[:3])) for answer in answers),
        "top1_strict": _share(answer.ranked[0] == answer.example.label for answer in answers),
        "top3_strict": _share(answer.example.label in answer.ranked[:3] for answer in answers),
        "macro_f1": macro_f1([(_counted_label(answer), answer.ranked[0]) for answer in answers]),
        "macro_f1_strict": macro_f1([(answer.example.label, answer.ranked[0]) for answer in answers]),
        "ece": expected_calibration_error([(answer.probability, answer.right) for answer in answers]),
        "coverage": len(answered) / max(len(answers), 1),
        "precision_when_answered": _share(answer.right for answer in answered),
        "other_found_or_abstained": _share(answer.abstained or answer.ranked[0] == OTHER for answer in beside_scope),
        "risk_coverage": _risk_coverage(answers),
        "reliability": _reliability(answers),
        "by_class": _by_class(answers),
        "by_style": _by_group(answers, lambda answer: answer.example.style),
        "by_batch": _by_group(answers, lambda answer: answer.example.batch),
        "confusions": _confusions(answers),
    }


def macro_f1(pairs: Sequence[tuple[str, str]]) -> float:
    """Return the mean over the true classes of F1, from (true, given) pairs."""
    true, given, both = Counter(pair[0] for pair in pairs), Counter(pair[1] for pair in pairs), Counter(a for a, b in pairs if a == b)
    scores = [2 * both[label] / (true[label] + given[label]) for label in true]
    return sum(scores) / max(len(scores), 1)


def expected_calibration_error(outcomes: Sequence[tuple[float, bool]]) -> float:
    """Return the mean gap between probability and share of right answers, over 15 bins of equal width (Guo et al. 2017, eq. 3)."""
    return sum(
        len(outcomes_in) * abs(_share(right for _, right in outcomes_in) - _mean(p for p, _ in outcomes_in))
        for outcomes_in in _binned(outcomes)
    ) / max(len(outcomes), 1)


def wilson(right: int, total: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share (Wilson 1927)."""
    if total == 0:
        return 0.0, 1.0
    z = 1.96
    share = right / total
    centre = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return (centre - spread) / (1 + z * z / total), (centre + spread) / (1 + z * z / total)


def _counted_label(answer: Answer) -> str:
    """Return the class that an answer counts for: the given one where it is acceptable."""
    return answer.ranked[0] if answer.right else answer.example.label


def _share(outcomes: Iterable[bool]) -> float:
    return _mean(float(outcome) for outcome in outcomes)


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else 0.0


def _binned(outcomes: Sequence[tuple[float, bool]]) -> list[list[tuple[float, bool]]]:
    bins: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    for outcome in outcomes:
        bins[min(int(outcome[0] * _BINS), _BINS - 1)].append(outcome)
    return [bins[number] for number in sorted(bins)]


def _reliability(answers: Sequence[Answer]) -> list[dict[str, float]]:
    binned = _binned([(answer.probability, answer.right) for answer in answers])
    return [{"probability": _mean(p for p, _ in each), "right": _share(right for _, right in each), "texts": len(each)} for each in binned]


def _risk_coverage(answers: Sequence[Answer]) -> list[dict[str, float]]:
    """Return the share of right answers when only the surest are given."""
    surest = sorted(answers, key=lambda answer: -answer.probability)
    points = []
    for coverage in sorted({*_STEADY_COVERAGES, *(step / _CURVE_POINTS for step in range(1, _CURVE_POINTS + 1))}, reverse=True):
        given = surest[: max(round(coverage * len(surest)), 1)]
        if given:
            points.append(
                {"coverage": coverage, "precision": _share(answer.right for answer in given), "least_probability": given[-1].probability}
            )
    return points


def _by_class(answers: Sequence[Answer]) -> dict[str, dict[str, float]]:
    """Return recall with its confidence interval, precision and F1 of each class, all strict."""
    true = Counter(answer.example.label for answer in answers)
    given = Counter(answer.ranked[0] for answer in answers)
    both = Counter(answer.example.label for answer in answers if answer.ranked[0] == answer.example.label)
    figures = {}
    for label in sorted(true):
        low, high = wilson(both[label], true[label])
        figures[label] = {
            "texts": true[label],
            "recall": both[label] / true[label],
            "recall_low": low,
            "recall_high": high,
            "precision": both[label] / given[label] if given[label] else 0.0,
            "f1": 2 * both[label] / (true[label] + given[label]),
        }
    return figures


def _by_group(answers: Sequence[Answer], group_of: Any) -> dict[str, dict[str, float]]:  # noqa: ANN401 - a function of an answer
    groups: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        groups[group_of(answer)].append(answer)
    return {
        group: {
            "texts": len(members),
            "top1": _share(answer.right for answer in members),
            "top1_strict": _share(answer.ranked[0] == answer.example.label for answer in members),
            "coverage": _share(not answer.abstained for answer in members),
        }
        for group, members in sorted(groups.items())
        if group
    }


def _confusions(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    wrong: dict[tuple[str, str], list[Answer]] = defaultdict(list)
    for answer in answers:
        if not answer.right:
            wrong[answer.example.label, answer.ranked[0]].append(answer)
    worst = sorted(wrong.items(), key=lambda item: (-len(item[1]), item[0]))[:_WORST]
    return [
        {"true": true, "given": given, "texts": len(members), "example": members[0].example.text[:_SHOWN_CHARACTERS]}
        for (true, given), members in worst
    ]
