"""GetContact: the unit that holds the ticket sees whom to call, and each look is recorded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import grpc
import pytest
from sqlalchemy import select

from paidan.intake.v1 import ticket_pb2
from services.intake.adapters import tables
from services.intake.application.follow_dispatch import Declined, Dispatched, SentToTriage
from services.intake.domain.types import TicketId, TicketState
from tests.integration.intake.harness import refusal
from tests.unit.intake.builders import HELPER, LEAD, STRANGER, dispatch

if TYPE_CHECKING:
    from tests.integration.intake.harness import Client, Door, Store

HELD = [TicketState.DISPATCHED, TicketState.ACCEPTED, TicketState.AWAITING_SUPPLEMENT, TicketState.RESOLVED]


@pytest.mark.parametrize("by", ["ticket_id", "number"])
@pytest.mark.parametrize("state", HELD)
def test_the_lead_unit_reads_contact_and_enterprise_and_the_look_is_recorded(
    door: Door, store: Store, portal: Client, state: TicketState, by: str
) -> None:
    ticket = portal.submit(confidential=True)
    store.bring(ticket.ticket_id, state)
    before = datetime.now(UTC)

    answer = door.unit(LEAD).GetContact(ticket_id=getattr(ticket, by))

    assert answer.contact == ticket_pb2.Contact(name="王小明", phone="023-67890000")
    assert answer.enterprise == ticket.enterprise
    (look,) = _looks(store, ticket.ticket_id)
    assert look.unit == LEAD
    assert before <= look.look_time <= datetime.now(UTC)


def test_every_look_is_recorded(door: Door, store: Store, portal: Client) -> None:
    ticket = portal.submit()
    store.bring(ticket.ticket_id, TicketState.ACCEPTED)
    unit = door.unit(LEAD)

    for _ in range(3):
        unit.GetContact(ticket_id=ticket.ticket_id)

    assert len(_looks(store, ticket.ticket_id)) == 3


def test_a_unit_that_helps_is_told_that_it_does_not_lead(door: Door, store: Store, portal: Client) -> None:
    ticket = portal.submit()
    store.bring(ticket.ticket_id, TicketState.ACCEPTED)

    answer = refusal(lambda: door.unit(HELPER).GetContact(ticket_id=ticket.ticket_id))

    assert answer.code is grpc.StatusCode.PERMISSION_DENIED
    assert (answer.reason, answer.domain) == ("NOT_LEAD_UNIT", "intake.paidan")
    assert _looks(store, ticket.ticket_id) == []


def test_a_unit_without_part_in_the_ticket_learns_not_even_that_it_is_there(door: Door, store: Store, portal: Client) -> None:
    ticket = portal.submit()
    store.bring(ticket.ticket_id, TicketState.ACCEPTED)

    answer = refusal(lambda: door.unit(STRANGER).GetContact(ticket_id=ticket.number))

    assert (answer.code, answer.reason) == (grpc.StatusCode.NOT_FOUND, "TICKET_NOT_FOUND")
    assert _looks(store, ticket.ticket_id) == []


def test_before_the_dispatch_no_unit_sees_the_contact(door: Door, portal: Client) -> None:
    ticket = portal.submit()

    answer = refusal(lambda: door.unit(LEAD).GetContact(ticket_id=ticket.ticket_id))

    assert answer.reason == "TICKET_NOT_FOUND"


def test_after_a_transfer_the_new_lead_sees_the_contact_and_the_old_one_no_more(door: Door, store: Store, portal: Client) -> None:
    ticket = portal.submit()
    store.bring(ticket.ticket_id, TicketState.ACCEPTED)
    store.follow(Dispatched(TicketId(ticket.ticket_id), dispatch(2, lead=STRANGER)))

    answer = refusal(lambda: door.unit(LEAD).GetContact(ticket_id=ticket.ticket_id))

    assert answer.reason == "TICKET_NOT_FOUND"
    assert door.unit(STRANGER).GetContact(ticket_id=ticket.ticket_id).contact.name == "王小明"


def test_a_unit_that_sent_the_ticket_back_to_the_desk_sees_the_contact_no_more(door: Door, store: Store, portal: Client) -> None:
    ticket = portal.submit()
    store.bring(ticket.ticket_id, TicketState.ACCEPTED)
    store.follow(SentToTriage(TicketId(ticket.ticket_id), datetime.now(UTC)))

    answers = [refusal(lambda unit=unit: door.unit(unit).GetContact(ticket_id=ticket.ticket_id)) for unit in (LEAD, HELPER)]

    assert [answer.reason for answer in answers] == ["TICKET_NOT_FOUND", "TICKET_NOT_FOUND"]
    assert _looks(store, ticket.ticket_id) == []


def test_after_a_reopening_the_contact_waits_for_the_new_dispatch(door: Door, store: Store, portal: Client) -> None:
    ticket = portal.submit()
    store.bring(ticket.ticket_id, TicketState.RESOLVED)
    reopened = portal.ReopenTicket(ticket_id=ticket.ticket_id, reason="没有解决").ticket

    answer = refusal(lambda: door.unit(LEAD).GetContact(ticket_id=ticket.ticket_id))
    store.follow(Dispatched(TicketId(ticket.ticket_id), dispatch(2)))

    assert (reopened.lead_unit, list(reopened.co_handler_units)) == ("", [])
    assert answer.reason == "TICKET_NOT_FOUND"
    assert door.unit(LEAD).GetContact(ticket_id=ticket.ticket_id).contact.name == "王小明"


@pytest.mark.parametrize("end", ["withdrawn", "declined", "closed"])
def test_when_the_ticket_has_ended_the_lead_sees_the_contact_no_more(door: Door, store: Store, portal: Client, end: str) -> None:
    ticket = portal.submit()
    store.bring(ticket.ticket_id, TicketState.RESOLVED if end == "closed" else TicketState.ACCEPTED)
    match end:
        case "withdrawn":
            portal.WithdrawTicket(ticket_id=ticket.ticket_id)
        case "declined":
            store.follow(Declined(TicketId(ticket.ticket_id), "不属于本市", datetime.now(UTC) + timedelta(seconds=1)))
        case "closed":
            portal.RateTicket(ticket_id=ticket.ticket_id, solved=ticket_pb2.SOLVED_YES, score=5)

    answer = refusal(lambda: door.unit(LEAD).GetContact(ticket_id=ticket.ticket_id))

    assert (answer.code, answer.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "STATE_CONFLICT")
    assert answer.metadata["state"] == end.upper()
    assert _looks(store, ticket.ticket_id) == []


def _looks(store: Store, ticket_id: str) -> list:
    with store.admin.connect() as conn:
        return list(conn.execute(select(tables.contact_look_table).where(tables.contact_look_table.c.ticket_id == ticket_id)))
