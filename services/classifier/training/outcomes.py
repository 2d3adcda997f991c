"""Outcomes to learn from: reading them, splitting them by time, and how far each is to be believed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from services.classifier.domain.outcomes import Source
from services.classifier.training.calibration import Calibration
from services.classifier.training.examples import Example, UnreadableDataError
from services.classifier.training.fit import Material
from services.classifier.training.folds import out_of_fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from services.classifier.training.fit import Settings

_FOLDS = 4
_LEAST_WEIGHT = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a ticket's outcome says about its text.

    Attributes:
        id: Of the ticket.
        text: The request, personal data hidden.
        label: Class that the outcome speaks for.
        weight: How much it counts, 0–1.
        source: What it rests on, one of `Source`.
        time: When the request was submitted.
        predicted: Class that the model had named first; empty if not known.
    """

    id: str
    text: str
    label: str
    weight: float
    source: str
    time: datetime
    predicted: str = ""

    def example(self) -> Example:
        """Return it as a training text."""
        return Example(id=self.id, text=self.text, label=self.label, weight=self.weight)

    def record(self) -> dict[str, Any]:
        """Return it as a line of a file of outcomes."""
        return {**asdict(self), "time": self.time.isoformat()}


def from_record(record: Mapping[str, Any]) -> Outcome:
    """Return the outcome that a record holds.

    Raises:
        KeyError: A field is missing.
        ValueError: One is out of range.
    """
    time = record["time"] if isinstance(record["time"], datetime) else datetime.fromisoformat(record["time"])
    weight = float(record["weight"])
    if not 0 < weight <= 1:
        message = f"weight is {weight}, allowed is more than 0 up to 1"
        raise ValueError(message)
    return Outcome(
        id=str(record["id"]),
        text=str(record["text"]),
        label=str(record["label"]),
        weight=weight,
        source=Source(record["source"]).value,
        time=time if time.tzinfo else time.replace(tzinfo=UTC),
        predicted=str(record.get("predicted") or ""),
    )


def read_outcomes(path: Path) -> list[Outcome]:
    """Read a file of outcomes, one JSON object a line: id, text, label, weight, source, time, optionally predicted.

    Raises:
        UnreadableDataError: A line is not understood.
        OSError: The file cannot be read.
    """
    outcomes = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            try:
                outcomes.append(from_record(json.loads(line)))
            except (ValueError, TypeError, KeyError) as error:
                problem = f"lacks {error}" if isinstance(error, KeyError) else str(error)
                raise UnreadableDataError(path, number, problem) from error
    return outcomes


def split_by_time(outcomes: Iterable[Outcome], later: float) -> tuple[list[Outcome], list[Outcome]]:
    """Return the earlier outcomes, to learn from, and the last share of them, to judge by."""
    ordered = sorted(outcomes, key=lambda each: (each.time, each.id))
    judges = round(len(ordered) * later)
    return ordered[: len(ordered) - judges], ordered[len(ordered) - judges :]


def believed(
    outcomes: Sequence[Outcome],
    known: Sequence[Example],
    labels: Sequence[str],
    settings: Settings,
    step: Callable[[str], None],
) -> list[Example]:
    """Return outcomes as training texts whose weights say how far to believe them.

    A misroute that a unit accepted in silence looks like a confirmation of the wrong class. So each outcome that rests on silence is looked
    at by models that learnt from the others and from `known` texts, but not from itself: its weight is multiplied by how likely they hold
    its class against the class that they hold likeliest. Where somebody objected, or decided, models have no say: there they were wrong.
    """
    examples = [each.example() for each in outcomes]
    material = Material(examples, known, labels, settings)
    folds = [(str(number + 1), np.arange(number, len(examples), _FOLDS)) for number in range(min(_FOLDS, len(examples)))]
    scores = out_of_fold(material, folds, lambda name: step(f"outcomes without part {name}"))
    acceptable = np.zeros(scores.shape, np.bool_)
    acceptable[np.arange(len(examples)), material.targets] = True
    probabilities = Calibration.learn(scores, acceptable).apply(scores)
    held = probabilities[np.arange(len(examples)), material.targets] / probabilities.max(axis=1)
    return [
        replace(example, weight=max(example.weight * share, _LEAST_WEIGHT)) if outcome.source == Source.KEPT.value else example
        for outcome, example, share in zip(outcomes, examples, held.tolist(), strict=True)
    ]
