"""Values of each kind that the dispatcher stores as JSON; `golden/` holds how each release wrote them."""

from __future__ import annotations

from datetime import timedelta

from services.dispatcher.domain.commands import DeliverSupplement, NoteDeadline, TakeClassification, WithdrawTicket
from services.dispatcher.domain.values import (
    AbstainReason,
    Assignment,
    Candidate,
    Choice,
    ClassCode,
    Classification,
    ClassProbability,
    DeadlineChange,
    DecisionId,
    DecisionRecord,
    DistrictCode,
    DistrictSource,
    DistrictUsed,
    Extension,
    Method,
    Supplement,
    Triage,
    TriageReason,
    UnitCode,
)
from tests.unit.dispatcher.builders import INDUSTRY, MARKET, NOON, SECOND, TICKET_ID, YUZHONG

_CANDIDATES = (
    Candidate(unit=INDUSTRY, class_code=ClassCode("power_supply"), class_probability=0.93, relevance=0.8835),
    Candidate(unit=YUZHONG, class_code=ClassCode("power_supply"), class_probability=0.93, relevance=0.093),
)
_DISTRICT = DistrictUsed(code=DistrictCode("500103"), source=DistrictSource.TEXT)
_NOWHERE = DistrictUsed(code=None, source=DistrictSource.NONE, unknown="500199")
_CLASSIFICATION = Classification(
    ranked=(ClassProbability(class_code=ClassCode("power_supply"), probability=0.93),),
    abstain_reason=None,
    model_version="20261101-abcdef01",
)
_ABSTAINED = Classification(ranked=(), abstain_reason=AbstainReason.TOO_LITTLE, model_version="")
_SUPPLEMENT = Supplement(text="户号 123\n见附件", attachment_refs=("a.pdf", "b.pdf"), supplement_time=NOON + timedelta(microseconds=123456))
_CHOICE = Choice(
    lead=INDUSTRY,
    co_handlers=(YUZHONG,),
    class_code=ClassCode("power_supply"),
    class_probability=0.93,
    district=_DISTRICT,
    candidates=_CANDIDATES,
    model_version="20261101-abcdef01",
    explanation="识别为「供电」(概率93%)",
)
_UNDECIDED = Choice(
    lead=None,
    triage_reason=TriageReason.NO_CLASSIFICATION,
    district=_NOWHERE,
    rules_hit=("power-1", "power-2"),
    explanation="转人工分拨。",
)

STORED: dict[str, object] = {
    "assignment": Assignment(
        epoch=2,
        lead=INDUSTRY,
        co_handlers=(YUZHONG, MARKET),
        class_code=ClassCode("power_supply"),
        class_probability=0.93,
        district=_DISTRICT,
        method=Method.SUGGESTION,
        dispatch_time=NOON + 5 * SECOND,
        decision_id=DecisionId("decision-1"),
        explanation="识别为「供电」(概率93%)",
        note="不归我们",
    ),
    "assignment_of_the_duty_desk": Assignment(
        epoch=1,
        lead=UnitCode("dutydesk"),
        co_handlers=(),
        class_code=None,
        class_probability=0.0,
        district=_NOWHERE,
        method=Method.FALLBACK,
        dispatch_time=NOON + 40 * SECOND,
        decision_id=DecisionId("decision-2"),
        explanation="",
    ),
    "triage": Triage(
        reason=TriageReason.RETURNED,
        candidates=_CANDIDATES,
        district=_DISTRICT,
        since=NOON,
        fallback_time=NOON + 40 * SECOND,
        return_note="不归我们",
    ),
    "classification": _CLASSIFICATION,
    "classification_abstained": _ABSTAINED,
    "extension": Extension(workdays=3, reason="等检测报告", request_time=NOON),
    "supplements": (_SUPPLEMENT, Supplement(text="补", attachment_refs=(), supplement_time=NOON)),
    "decision": DecisionRecord(
        decision_id=DecisionId("decision-1"),
        ticket_id=TICKET_ID,
        epoch=1,
        method=Method.AUTO,
        choice=_CHOICE,
        threshold=0.5,
        catalogue_version="0123456789abcdef",
        decide_time=NOON,
    ),
    "decision_for_the_desk": DecisionRecord(
        decision_id=DecisionId("decision-2"),
        ticket_id=TICKET_ID,
        epoch=0,
        method=None,
        choice=_UNDECIDED,
        threshold=0.5,
        catalogue_version="0123456789abcdef",
        decide_time=NOON + 15 * SECOND,
        decided_by="desk-1",
    ),
    "early": (
        TakeClassification(ticket_id=TICKET_ID, classification=_CLASSIFICATION),
        WithdrawTicket(ticket_id=TICKET_ID, reason="已自行解决"),
        DeliverSupplement(ticket_id=TICKET_ID, supplement=_SUPPLEMENT),
        NoteDeadline(ticket_id=TICKET_ID, change=DeadlineChange.SET, due_time=NOON + timedelta(days=3)),
        NoteDeadline(ticket_id=TICKET_ID, change=DeadlineChange.PAUSED, due_time=None),
    ),
}
"""Name of a golden file → the value that it holds."""
