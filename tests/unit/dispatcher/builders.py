"""Small things that the dispatcher's tests are built from."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.dispatcher.adapters.catalogue import load_catalogue
from services.dispatcher.domain.dispatch import Dispatch
from services.dispatcher.domain.values import (
    AbstainReason,
    Choice,
    ClassCode,
    Classification,
    ClassProbability,
    DecisionId,
    DecisionRecord,
    DistrictCode,
    DistrictSource,
    DistrictUsed,
    Method,
    Policy,
    Ticket,
    TicketId,
    TriageReason,
    UnitCode,
)

if TYPE_CHECKING:
    from services.dispatcher.domain.events import Event

CATALOGUE_FOLDER = Path(__file__).parents[3] / "catalogue"
CATALOGUE = load_catalogue(CATALOGUE_FOLDER)
POLICY = Policy()
NOON = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
TICKET_ID = TicketId("0193a1b2-0000-7000-8000-000000000001")
MARKET = UnitCode("scjgj")
FINANCE = UnitCode("czj")
INDUSTRY = UnitCode("jjxxw")
YUZHONG = UnitCode("500103")

_decisions = itertools.count(1)


def ticket(**changed: Any) -> Ticket:
    facts: dict[str, Any] = {
        "ticket_id": TICKET_ID,
        "number": "20261123-500103-000001-K",
        "uscc": "91350100M000100Y43",
        "enterprise_name": "重庆某某机械有限公司",
        "request_district": "",
        "enterprise_district": "",
        "text": "这周停电三次,生产线报废一批料",
        "confidential": False,
        "submit_time": NOON,
    }
    return Ticket(**{**facts, **changed})


def classification(*ranked: tuple[str, float], abstained: AbstainReason | None = None) -> Classification:
    return Classification(
        ranked=tuple(ClassProbability(class_code=ClassCode(code), probability=probability) for code, probability in ranked),
        abstain_reason=abstained,
        model_version="20261101-abcdef01",
    )


def decision(
    lead: str | None,
    *,
    method: Method | None = Method.AUTO,
    reason: TriageReason | None = None,
    epoch: int = 1,
    at: datetime = NOON,
    co_handlers: tuple[str, ...] = (),
    class_code: str | None = "power_supply",
    ticket_id: TicketId = TICKET_ID,
) -> DecisionRecord:
    return DecisionRecord(
        decision_id=DecisionId(f"decision-{next(_decisions)}"),
        ticket_id=ticket_id,
        epoch=epoch,
        method=method if lead else None,
        choice=Choice(
            lead=UnitCode(lead) if lead else None,
            triage_reason=None if lead else (reason or TriageReason.UNSURE),
            co_handlers=tuple(UnitCode(unit) for unit in co_handlers),
            class_code=ClassCode(class_code) if class_code else None,
            class_probability=0.9,
            district=DistrictUsed(code=DistrictCode("500103"), source=DistrictSource.REQUEST),
            explanation="测试",
        ),
        threshold=POLICY.threshold,
        catalogue_version=CATALOGUE.version,
        decide_time=at,
    )


def submitted(**changed: Any) -> Dispatch:
    """A dispatch of a ticket that was just submitted."""
    dispatch = Dispatch(ticket_id=TICKET_ID)
    dispatch.submit(ticket(**changed), now=NOON, policy=POLICY)
    return dispatch


def dispatched(lead: str = INDUSTRY, **changed: Any) -> Dispatch:
    """A dispatch in the hands of a lead unit, epoch 1, its events pulled."""
    dispatch = submitted()
    dispatch.decide(decision(lead, **changed), policy=POLICY)
    dispatch.pull_events()
    return dispatch


def names(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]
