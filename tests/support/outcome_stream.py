"""A city that acts on a model's answers: what becomes of tickets, as facts, and through them as labels."""

from __future__ import annotations

import csv
from datetime import timedelta
from typing import TYPE_CHECKING

from services.classifier.adapters.duties import read_duties
from services.classifier.application.answering import answers
from services.classifier.domain.classification import OTHER, ClassCode
from services.classifier.domain.outcomes import Assignment, ChosenBy, Epoch, Facts, Prediction, ReturnReason, UnitCode, label_of
from services.classifier.training import catalogue
from services.classifier.training.outcomes import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from random import Random

    from services.classifier.application.ports import Recogniser
    from services.classifier.domain.classification import Classification
    from services.classifier.training.examples import Example

DISTRICT = UnitCode("500112")
_FIRST, _SECOND = Epoch(1), Epoch(2)


class City:
    """Routes every text by the model's first class, and lets the units answer.

    A unit that gets what is another's sends it back, and the other keeps it; but a share `silent` of such misroutes is accepted and closed
    as if it were right. A wrong class whose unit is the right one is never noticed.
    """

    def __init__(self, random: Random, *, silent: float = 0.3) -> None:
        self._random = random
        self._silent = silent
        self._duties = read_duties(catalogue.DEFAULT)
        with (catalogue.DEFAULT / "classes.csv").open(encoding="utf-8", newline="") as lines:
            self._unit_of = {
                row["code"]: DISTRICT if row["level"] == "district_first" else UnitCode(row["lead"]) for row in csv.DictReader(lines)
            }

    def outcomes(self, model: Recogniser, examples: Sequence[Example], start: datetime) -> Iterator[Outcome]:
        """Yield the outcomes that give a label, one text a minute from `start`."""
        for minute, (example, answer) in enumerate(
            zip(examples, answers(model, [each.text for each in examples], 5), strict=True),
        ):
            label = label_of(self._facts(example, answer), self._duties)
            if label is not None:
                yield Outcome(
                    id=f"{start:%Y%m%d}-{minute}",
                    text=example.text,
                    label=label.class_code,
                    weight=label.weight,
                    source=label.source.value,
                    time=start + timedelta(minutes=minute),
                    predicted=answer.classes[0].code,
                )

    def _facts(self, example: Example, answer: Classification) -> Facts:
        given, true = answer.classes[0].code, ClassCode(example.label)
        facts = Facts(prediction=Prediction(answer.classes, answer.model_version), closed=True)
        if given == OTHER:
            self._desk_decides(facts, _FIRST, true)
            return facts
        facts.assignments[_FIRST] = Assignment(self._unit_of[given], ChosenBy.MODEL, given)
        right = true != OTHER and self._unit_of[given] == self._unit_of[true]
        if right or self._random.random() < self._silent:
            facts.resolved.add(_FIRST)
            return facts
        facts.returns[_FIRST] = ReturnReason.NOT_COMPETENT
        if true == OTHER:
            self._desk_decides(facts, _SECOND, true)
        else:
            facts.assignments[_SECOND] = Assignment(self._unit_of[true], ChosenBy.UNIT, given)
            facts.resolved.add(_SECOND)
        return facts

    def _desk_decides(self, facts: Facts, epoch: Epoch, true: ClassCode) -> None:
        if true == OTHER:
            facts.declined = True
        else:
            facts.assignments[epoch] = Assignment(self._unit_of[true], ChosenBy.DESK, true)
            facts.resolved.add(epoch)
