"""Facts as the classifier stores them as JSON; `golden/` holds how each release wrote them."""

from __future__ import annotations

from services.classifier.domain.classification import ClassCode, ClassProbability, ModelVersion
from services.classifier.domain.outcomes import Assignment, ChosenBy, Epoch, Facts, Prediction, ReturnReason, UnitCode

FACTS = Facts(
    prediction=Prediction(
        (ClassProbability(ClassCode("power_supply"), 0.93), ClassProbability(ClassCode("other"), 0.07)),
        ModelVersion("20261101-abcdef01"),
    ),
    assignments={
        Epoch(1): Assignment(UnitCode("jjxxw"), ChosenBy.MODEL, ClassCode("power_supply")),
        Epoch(2): Assignment(UnitCode("scjgj"), ChosenBy.DESK, None),
    },
    returns={Epoch(1): ReturnReason.NOT_COMPETENT},
    accepted={Epoch(1), Epoch(2)},
    resolved={Epoch(2)},
    reopened=True,
    closed=True,
)
