"""Facts as the SLA service stores them as JSON; `golden/` holds how each release wrote them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from services.sla.domain.facts import SUBMISSION, Assignment, Cycle, Epoch, Extension, Facts, PortalCode, Question, UnitCode

_NOON = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
_LATER = _NOON + timedelta(hours=1, microseconds=123456)

FACTS = Facts(
    portal=PortalCode("portal-a"),
    starts={SUBMISSION: _NOON, Cycle(1): _NOON + timedelta(days=2)},
    assignments={Epoch(1): Assignment(UnitCode("jjxxw"), _NOON, _LATER), Epoch(2): Assignment(UnitCode("scjgj"), _LATER, _LATER)},
    returns={Epoch(1): _LATER},
    questions={Question(Epoch(2), _NOON), Question(Epoch(2), _LATER)},
    answers={_NOON, _LATER},
    extensions={Extension(Epoch(2), _LATER, 3)},
    resolutions={Epoch(2): _LATER},
    cancel=_LATER,
)
