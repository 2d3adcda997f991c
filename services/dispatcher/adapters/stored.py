"""Values that the dispatcher stores as JSON, each with an explicit format.

Format 0 is the format of the previous release. Format 1 adds `"v": 1` to every object. Rules, see ADR 23:

- A reader ignores fields that it does not know, and reads format 0.
- A new field has a default for rows without it. If older replicas must act on it, one release reads it before the next one writes it.
- An enum value that this release does not know was written by a newer one. It is kept unchanged, has no effect, and is logged once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import orjson

from chassis.stored import known, log_unknown
from services.dispatcher.domain.commands import DeliverSupplement, NoteDeadline, TakeClassification, UnknownCommand, WithdrawTicket
from services.dispatcher.domain.values import (
    AbstainReason,
    Assignment,
    Candidate,
    Choice,
    Classification,
    ClassProbability,
    DeadlineChange,
    DecisionRecord,
    DistrictSource,
    DistrictUsed,
    Extension,
    Method,
    Supplement,
    Triage,
    TriageReason,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from services.dispatcher.domain.commands import EarlyCommand

T = TypeVar("T")
Json = dict[str, Any]

VERSION = 1


@dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """The format of one kind of value.

    Attributes:
        write: Converts a value to JSON.
        read: Converts JSON of this format or of format 0 to a value.
    """

    write: Callable[[T], Any]
    read: Callable[[Any], T]

    def dumps(self, value: T | None) -> bytes | None:
        """Return a value as JSON text; None for None."""
        return None if value is None else orjson.dumps(self.write(value), option=orjson.OPT_UTC_Z)

    def loads(self, json: Any) -> T | None:  # noqa: ANN401 - JSON
        """Return the value of parsed JSON; None for None."""
        return None if json is None else self.read(json)


def _instant(json: Json, name: str) -> datetime:
    return datetime.fromisoformat(json[name])


def _write_district(district: DistrictUsed) -> Json:
    return {"code": district.code, "source": district.source, "unknown": district.unknown}


def _read_district(json: Json) -> DistrictUsed:
    source = known(DistrictSource, json["source"])
    return DistrictUsed(code=json["code"], source=source, unknown=json.get("unknown", ""))


def _write_candidates(candidates: Sequence[Candidate]) -> list[Json]:
    return [
        {
            "unit": each.unit,
            "class_code": each.class_code,
            "class_probability": each.class_probability,
            "relevance": each.relevance,
        }
        for each in candidates
    ]


def _read_candidates(json: Sequence[Json]) -> tuple[Candidate, ...]:
    return tuple(
        Candidate(
            unit=each["unit"],
            class_code=each["class_code"],
            class_probability=each["class_probability"],
            relevance=each["relevance"],
        )
        for each in json
    )


def _write_assignment(assignment: Assignment) -> Json:
    return {
        "v": VERSION,
        "epoch": assignment.epoch,
        "lead": assignment.lead,
        "co_handlers": assignment.co_handlers,
        "class_code": assignment.class_code,
        "class_probability": assignment.class_probability,
        "district": _write_district(assignment.district),
        "method": assignment.method,
        "dispatch_time": assignment.dispatch_time,
        "decision_id": assignment.decision_id,
        "explanation": assignment.explanation,
        "note": assignment.note,
    }


def _read_assignment(json: Json) -> Assignment:
    return Assignment(
        epoch=json["epoch"],
        lead=json["lead"],
        co_handlers=tuple(json["co_handlers"]),
        class_code=json["class_code"],
        class_probability=json["class_probability"],
        district=_read_district(json["district"]),
        method=known(Method, json["method"]),
        dispatch_time=_instant(json, "dispatch_time"),
        decision_id=json["decision_id"],
        explanation=json["explanation"],
        note=json.get("note", ""),
    )


def _write_triage(triage: Triage) -> Json:
    return {
        "v": VERSION,
        "reason": triage.reason,
        "candidates": _write_candidates(triage.candidates),
        "district": _write_district(triage.district),
        "since": triage.since,
        "fallback_time": triage.fallback_time,
        "return_note": triage.return_note,
    }


def _read_triage(json: Json) -> Triage:
    return Triage(
        reason=known(TriageReason, json["reason"]),
        candidates=_read_candidates(json["candidates"]),
        district=_read_district(json["district"]),
        since=_instant(json, "since"),
        fallback_time=_instant(json, "fallback_time"),
        return_note=json.get("return_note", ""),
    )


def _write_classification(classification: Classification) -> Json:
    return {
        "v": VERSION,
        "ranked": [{"class_code": each.class_code, "probability": each.probability} for each in classification.ranked],
        "abstain_reason": classification.abstain_reason,
        "model_version": classification.model_version,
    }


def _read_classification(json: Json) -> Classification:
    abstained = json["abstain_reason"]
    return Classification(
        ranked=tuple(ClassProbability(class_code=each["class_code"], probability=each["probability"]) for each in json["ranked"]),
        abstain_reason=None if abstained is None else known(AbstainReason, abstained),
        model_version=json["model_version"],
    )


def _write_extension(extension: Extension) -> Json:
    return {"v": VERSION, "workdays": extension.workdays, "reason": extension.reason, "request_time": extension.request_time}


def _read_extension(json: Json) -> Extension:
    return Extension(workdays=json["workdays"], reason=json["reason"], request_time=_instant(json, "request_time"))


def _write_supplement(supplement: Supplement) -> Json:
    return {
        "v": VERSION,
        "text": supplement.text,
        "attachment_refs": supplement.attachment_refs,
        "supplement_time": supplement.supplement_time,
    }


def _read_supplement(json: Json) -> Supplement:
    return Supplement(text=json["text"], attachment_refs=tuple(json["attachment_refs"]), supplement_time=_instant(json, "supplement_time"))


def _write_choice(choice: Choice) -> Json:
    return {
        "lead": choice.lead,
        "triage_reason": choice.triage_reason,
        "co_handlers": choice.co_handlers,
        "class_code": choice.class_code,
        "class_probability": choice.class_probability,
        "district": _write_district(choice.district),
        "candidates": _write_candidates(choice.candidates),
        "rules_hit": choice.rules_hit,
        "model_version": choice.model_version,
        "explanation": choice.explanation,
    }


def _read_choice(json: Json) -> Choice:
    reason = json["triage_reason"]
    return Choice(
        lead=json["lead"],
        triage_reason=None if reason is None else known(TriageReason, reason),
        co_handlers=tuple(json["co_handlers"]),
        class_code=json["class_code"],
        class_probability=json["class_probability"],
        district=_read_district(json["district"]),
        candidates=_read_candidates(json["candidates"]),
        rules_hit=tuple(json["rules_hit"]),
        model_version=json["model_version"],
        explanation=json["explanation"],
    )


def _write_decision(decision: DecisionRecord) -> Json:
    return {
        "v": VERSION,
        "decision_id": decision.decision_id,
        "ticket_id": decision.ticket_id,
        "epoch": decision.epoch,
        "method": decision.method,
        "choice": _write_choice(decision.choice),
        "threshold": decision.threshold,
        "catalogue_version": decision.catalogue_version,
        "decide_time": decision.decide_time,
        "decided_by": decision.decided_by,
    }


def _read_decision(json: Json) -> DecisionRecord:
    method = json["method"]
    return DecisionRecord(
        decision_id=json["decision_id"],
        ticket_id=json["ticket_id"],
        epoch=json["epoch"],
        method=None if method is None else known(Method, method),
        choice=_read_choice(json["choice"]),
        threshold=json["threshold"],
        catalogue_version=json["catalogue_version"],
        decide_time=_instant(json, "decide_time"),
        decided_by=json.get("decided_by", ""),
    )


def _write_early(command: EarlyCommand) -> list[Any]:
    match command:
        case UnknownCommand(kind=kind, body=body):
            return [kind, body]
        case TakeClassification():
            body = {"classification": _write_classification(command.classification)}
        case WithdrawTicket():
            body = {"reason": command.reason}
        case DeliverSupplement():
            body = {"supplement": _write_supplement(command.supplement)}
        case NoteDeadline():
            body = {"change": command.change, "due_time": command.due_time, "cycle": command.cycle}
    return [type(command).__name__, {"v": VERSION, "ticket_id": command.ticket_id, **body}]


def _read_early(json: Sequence[Any]) -> EarlyCommand:
    kind, body = json
    read = _EARLY.get(kind)
    try:
        if read is not None:
            return read(body)
    except (KeyError, TypeError, ValueError):
        pass
    log_unknown("early", str(kind))
    return UnknownCommand(kind=kind, body=body)


def _read_note(json: Json) -> NoteDeadline:
    due = json["due_time"]
    return NoteDeadline(
        ticket_id=json["ticket_id"],
        # An unknown change raises an error: the command is kept unchanged for a newer release.
        change=DeadlineChange(json["change"]),
        due_time=None if due is None else datetime.fromisoformat(due),
        cycle=json.get("cycle", 0),
    )


_EARLY: Mapping[str, Callable[[Json], EarlyCommand]] = {
    "TakeClassification": lambda json: TakeClassification(
        ticket_id=json["ticket_id"], classification=_read_classification(json["classification"])
    ),
    "WithdrawTicket": lambda json: WithdrawTicket(ticket_id=json["ticket_id"], reason=json["reason"]),
    "DeliverSupplement": lambda json: DeliverSupplement(ticket_id=json["ticket_id"], supplement=_read_supplement(json["supplement"])),
    "NoteDeadline": _read_note,
}

ASSIGNMENT = Codec(_write_assignment, _read_assignment)
TRIAGE = Codec(_write_triage, _read_triage)
CLASSIFICATION = Codec(_write_classification, _read_classification)
EXTENSION = Codec(_write_extension, _read_extension)
SUPPLEMENTS: Codec[tuple[Supplement, ...]] = Codec(
    lambda supplements: [_write_supplement(each) for each in supplements],
    lambda json: tuple(_read_supplement(each) for each in json),
)
DECISION = Codec(_write_decision, _read_decision)
EARLY: Codec[tuple[EarlyCommand, ...]] = Codec(
    lambda early: [_write_early(command) for command in early],
    lambda json: tuple(_read_early(each) for each in json),
)
