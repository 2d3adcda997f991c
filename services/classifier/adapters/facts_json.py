"""Facts as JSON, for the column that keeps them.

Format 1 is format 0, which has no `v`, with `"v": 1`. Parts that this release does not know are written back unchanged. An unknown
enum value is read as the value that yields no label (ADR 23).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chassis.stored import known
from services.classifier.domain.classification import ClassCode, ClassProbability, ModelVersion
from services.classifier.domain.outcomes import Assignment, ChosenBy, Epoch, Facts, Prediction, ReturnReason, UnitCode

if TYPE_CHECKING:
    from datetime import datetime

Json = dict[str, Any]

VERSION = 1

_FLAGS = ("confidential", "reopened", "closed", "withdrawn", "declined")
_PARTS = frozenset({"v", "prediction", "assignments", "returns", "accepted", "resolved", *_FLAGS})


def to_json(facts: Facts) -> Json:
    """Return facts, but for the text and its time, as JSON; empty parts are left out."""
    parts: Json = {
        "prediction": facts.prediction
        and [facts.prediction.model_version, [[each.code, round(each.probability, 6)] for each in facts.prediction.ranked]],
        "assignments": {str(epoch): [each.unit, each.chosen_by.value, each.class_code] for epoch, each in facts.assignments.items()},
        "returns": {str(epoch): reason.value for epoch, reason in facts.returns.items()},
        "accepted": sorted(facts.accepted),
        "resolved": sorted(facts.resolved),
        **{flag: getattr(facts, flag) for flag in _FLAGS},
    }
    written = {name: part for name, part in parts.items() if part}
    return {**facts.unread, **({"v": VERSION, **written} if written else {})}


def from_json(json: Json, text: str | None, submit_time: datetime | None) -> Facts:
    """Return the facts that `to_json` wrote."""
    prediction = json.get("prediction")
    return Facts(
        text=text,
        submit_time=submit_time,
        prediction=prediction
        and Prediction(tuple(ClassProbability(ClassCode(code), p) for code, p in prediction[1]), ModelVersion(prediction[0])),
        assignments={
            Epoch(int(epoch)): Assignment(UnitCode(unit), known(ChosenBy, chosen_by, ChosenBy.NOBODY), code and ClassCode(code))
            for epoch, (unit, chosen_by, code) in json.get("assignments", {}).items()
        },
        returns={
            Epoch(int(epoch)): known(ReturnReason, reason, ReturnReason.NOT_THE_CLASS) for epoch, reason in json.get("returns", {}).items()
        },
        accepted={Epoch(epoch) for epoch in json.get("accepted", [])},
        resolved={Epoch(epoch) for epoch in json.get("resolved", [])},
        unread={name: part for name, part in json.items() if name not in _PARTS},
        **{flag: bool(json.get(flag)) for flag in _FLAGS},
    )
