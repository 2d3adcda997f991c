"""What intake's tests are built from."""

from __future__ import annotations

import itertools
import random
import uuid
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from services.intake.application.submit_tickets import SubmitTicket
from services.intake.domain.number import make_number
from services.intake.domain.ticket import DispatchFacts, Enterprise, Rating, Ticket, UnitAct
from services.intake.domain.types import Channel, DistrictCode, PortalCode, RequestId, Solved, TicketId, TicketState, UnitCode, Uscc
from services.intake.domain.uscc import check_character, organisation_check_character

NOW = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
VALID_USCC = Uscc("91350100M000100Y43")
"""The field notes' own example of a code whose two check characters hold."""

LEAD = UnitCode("scjgj")
HELPER = UnitCode("500107")
STRANGER = UnitCode("kjj")

_sequence = itertools.count(1)


def some_uscc(seed: int) -> Uscc:
    """Return a valid credit code; the same seed gives the same code."""
    drawn = random.Random(seed)
    while True:
        organisation = "".join(drawn.choices("0123456789ABCDEFGHJKLMNPQRTUWXY", k=8))
        body = f"91500{drawn.randint(101, 120)}{organisation}{organisation_check_character(organisation)}"
        return Uscc(body + check_character(body))


def ticket(**changed: Any) -> Ticket:
    """Return a ticket as it is right after its submission; its first change is taken out."""
    number = next(_sequence)
    made = Ticket(
        **{
            "ticket_id": TicketId(str(uuid.uuid4())),
            "number": make_number(date(2026, 11, 23), DistrictCode("500107"), number),
            "portal": PortalCode("yukuaiban"),
            "enterprise": Enterprise(uscc=VALID_USCC, name="重庆某某科技有限公司", district=DistrictCode("500107")),
            "text": "营业执照变更迟迟没有结果",
            "channel": Channel.APP,
            "district": DistrictCode("500107"),
            "confidential": False,
            "create_time": NOW,
            "update_time": NOW,
            **changed,
        },
    )
    made.submitted()
    made.changes.clear()
    return made


def dispatch(epoch: int = 1, *, lead: UnitCode = LEAD, helpers: tuple[UnitCode, ...] = (), at: datetime = NOW) -> DispatchFacts:
    return DispatchFacts(epoch=epoch, lead_unit=lead, co_handler_units=helpers, class_code="c01", explanation="按类别派单", time=at)


def act(epoch: int = 1, *, unit: UnitCode = LEAD, note: str = "", at: datetime = NOW) -> UnitAct:
    return UnitAct(epoch=epoch, unit=unit, note=note, time=at)


def rating(solved: Solved = Solved.YES, score: int = 5, at: datetime = NOW) -> Rating:
    return Rating(solved=solved, score=score, comment="办得快", rate_time=at)


def ticket_in(state: TicketState, **changed: Any) -> Ticket:
    """Return a ticket that came to a state by the shortest way."""
    made = ticket(**changed)
    _lead_to(made, state)
    made.changes.clear()
    assert made.state is state
    return made


def _lead_to(made: Ticket, state: TicketState) -> None:
    match state:
        case TicketState.SUBMITTED:
            return
        case TicketState.AWAITING_TRIAGE:
            made.sent_to_triage(NOW)
            return
        case TicketState.WITHDRAWN:
            made.withdraw("自行解决了", NOW)
            return
        case TicketState.DECLINED:
            made.declined("不属于本市", NOW)
            return
        case _:
            made.dispatched(dispatch(helpers=(HELPER,)))
    match state:
        case TicketState.ACCEPTED:
            made.accepted(act())
        case TicketState.AWAITING_SUPPLEMENT:
            made.supplement_requested(act(note="请补充合同"))
        case TicketState.RESOLVED:
            made.resolved(act(note="已办结"))
        case TicketState.CLOSED:
            made.resolved(act(note="已办结"))
            made.close(NOW)
        case _:
            pass


def submission(**changed: Any) -> SubmitTicket:
    """Return a command whose request id is its own unless one is given."""
    command = SubmitTicket(
        portal=PortalCode("yukuaiban"),
        request_id=RequestId(f"r-{uuid.uuid4()}"),
        uscc=VALID_USCC,
        enterprise_name="重庆某某科技有限公司",
        contact_name="王小明",
        contact_phone="023-67890000",
        text="营业执照变更迟迟没有结果",
        channel=Channel.APP,
        district=DistrictCode("500107"),
        confidential=False,
    )
    return replace(command, **changed)
