"""Facts as JSON, for the column that keeps them.

Format 1 is format 0, which has no `v`, with `"v": 1`. Parts that this release does not know are written back unchanged (ADR 23).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from services.sla.domain.facts import Assignment, Cycle, Epoch, Extension, Facts, PortalCode, Question, UnitCode

Json = dict[str, Any]

VERSION = 1

_PARTS = frozenset({"v", "starts", "assignments", "returns", "questions", "answers", "extensions", "resolutions", "cancel"})


def to_json(facts: Facts) -> Json:
    """Return facts, but for the portal, as JSON; empty parts are left out."""
    parts: Json = {
        "starts": {str(cycle): time.isoformat() for cycle, time in facts.starts.items()},
        "assignments": {
            str(epoch): [given.unit, given.dispatch_time.isoformat(), given.push_time.isoformat()]
            for epoch, given in facts.assignments.items()
        },
        "returns": {str(epoch): time.isoformat() for epoch, time in facts.returns.items()},
        "questions": sorted([each.epoch, each.time.isoformat()] for each in facts.questions),
        "answers": sorted(time.isoformat() for time in facts.answers),
        "extensions": sorted([each.epoch, each.time.isoformat(), each.workdays] for each in facts.extensions),
        "resolutions": {str(epoch): time.isoformat() for epoch, time in facts.resolutions.items()},
        "cancel": facts.cancel and facts.cancel.isoformat(),
    }
    written = {name: part for name, part in parts.items() if part}
    return {**facts.unread, **({"v": VERSION, **written} if written else {})}


def from_json(json: Json, portal: str | None) -> Facts:
    """Return the facts that `to_json` wrote."""
    cancel = json.get("cancel")
    return Facts(
        portal=None if portal is None else PortalCode(portal),
        starts={Cycle(int(cycle)): _time(time) for cycle, time in json.get("starts", {}).items()},
        assignments={
            Epoch(int(epoch)): Assignment(UnitCode(unit), _time(dispatch), _time(push))
            for epoch, (unit, dispatch, push) in json.get("assignments", {}).items()
        },
        returns={Epoch(int(epoch)): _time(time) for epoch, time in json.get("returns", {}).items()},
        questions={Question(Epoch(epoch), _time(time)) for epoch, time in json.get("questions", [])},
        answers={_time(time) for time in json.get("answers", [])},
        extensions={Extension(Epoch(epoch), _time(time), workdays) for epoch, time, workdays in json.get("extensions", [])},
        resolutions={Epoch(int(epoch)): _time(time) for epoch, time in json.get("resolutions", {}).items()},
        cancel=None if cancel is None else _time(cancel),
        unread={name: part for name, part in json.items() if name not in _PARTS},
    )


_time = datetime.fromisoformat
