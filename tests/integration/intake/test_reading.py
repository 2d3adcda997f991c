"""GetTicket and ListTickets."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from chassis import page
from paidan.intake.v1 import ticket_pb2
from services.intake.domain.types import TicketState
from tests.integration.intake.harness import refusal
from tests.unit.intake.builders import HELPER, LEAD, some_uscc

if TYPE_CHECKING:
    from tests.integration.intake.harness import Client, Store


@pytest.mark.parametrize("by", ["ticket_id", "number"])
def test_a_ticket_is_found_by_its_id_and_by_its_number(portal: Client, by: str) -> None:
    ticket = portal.submit()

    assert portal.GetTicket(ticket_id=getattr(ticket, by)).ticket == ticket


def test_a_ticket_shows_who_leads_and_what_was_done(store: Store, portal: Client) -> None:
    ticket = portal.submit()
    store.bring(ticket.ticket_id, TicketState.RESOLVED)

    shown = portal.GetTicket(ticket_id=ticket.ticket_id).ticket

    assert (shown.state, shown.version, shown.dispatch_epoch) == (ticket_pb2.TICKET_STATE_RESOLVED, 3, 1)
    assert (shown.lead_unit, list(shown.co_handler_units), shown.class_code) == (LEAD, [HELPER], "c01")
    assert shown.resolution == "已办结"
    assert not shown.HasField("rating")
    assert not shown.HasField("due_time")


def test_no_answer_about_a_ticket_has_room_for_a_contact() -> None:
    names = {name for message in ticket_pb2.DESCRIPTOR.message_types_by_name.values() for name in _texts(message)}

    assert {name for name in names if "phone" in name or "contact" in name} == {"Contact.phone"}


def _texts(message: object) -> list[str]:
    return [f"{message.name}.{field.name}" for field in message.fields]


HOSTILE = {
    "nothing": "",
    "a blank": " ",
    "NUL": "\x00",
    "NUL inside": "a\x00b",
    "Chinese": "工单",
    "SQL": "' OR 1=1 --",
    "emoji": "😀" * 100,
    "too long": "x" * 65,
    "far too long": "x" * 500_000,
    "bidi": "\u202e",
    "a pattern": "%",
}


@pytest.mark.parametrize("reference", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("method", ["GetTicket", "WatchTicket", "SupplementTicket", "WithdrawTicket", "RateTicket", "ReopenTicket"])
def test_what_cannot_be_a_ticket_is_refused_by_its_field(portal: Client, method: str, reference: str) -> None:
    fields = {
        "SupplementTicket": {"request_id": "r", "text": "合同"},
        "RateTicket": {"solved": ticket_pb2.SOLVED_YES, "score": 5},
        "ReopenTicket": {"reason": "没有解决"},
    }.get(method, {})

    def attempt() -> object:
        answer = getattr(portal, method)(ticket_id=reference, **fields)
        return next(answer) if method == "WatchTicket" else answer

    answer = refusal(attempt)

    assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert set(answer.violations) == {"ticket_id"}


def test_pages_follow_each_other_from_the_newest_to_the_oldest_without_gap_or_repetition(portal: Client) -> None:
    submitted = [portal.submit().ticket_id for _ in range(7)]

    pages, token = [], ""
    while True:
        answer = portal.ListTickets(page_size=3, page_token=token)
        pages.append([ticket.ticket_id for ticket in answer.tickets])
        token = answer.next_page_token
        if not token:
            break

    assert [len(page_) for page_ in pages] == [3, 3, 1]
    assert [ticket_id for page_ in pages for ticket_id in page_] == submitted[::-1]


def test_a_page_that_is_just_full_is_the_last_one(portal: Client) -> None:
    for _ in range(2):
        portal.submit()

    assert portal.ListTickets(page_size=2).next_page_token == ""


def test_tickets_that_come_meanwhile_do_not_shift_the_pages(portal: Client) -> None:
    submitted = [portal.submit().ticket_id for _ in range(4)]
    first = portal.ListTickets(page_size=2)

    portal.submit()
    second = portal.ListTickets(page_size=2, page_token=first.next_page_token)

    assert [ticket.ticket_id for ticket in second.tickets] == submitted[1::-1]


def test_filters_are_joined_by_and(store: Store, portal: Client) -> None:
    one, other = some_uscc(1), some_uscc(2)
    mine = [portal.submit(enterprise=ticket_pb2.Enterprise(uscc=uscc, name="甲公司")).ticket_id for uscc in (one, one, other)]
    store.bring(mine[1], TicketState.ACCEPTED)
    store.bring(mine[2], TicketState.ACCEPTED)

    def listed(**wanted: object) -> list[str]:
        return [ticket.ticket_id for ticket in portal.ListTickets(**wanted).tickets]

    assert listed(uscc=one.lower()) == [mine[1], mine[0]]
    assert listed(states=[ticket_pb2.TICKET_STATE_ACCEPTED]) == [mine[2], mine[1]]
    assert listed(uscc=one, states=[ticket_pb2.TICKET_STATE_ACCEPTED, ticket_pb2.TICKET_STATE_CLOSED]) == [mine[1]]
    assert listed(uscc=some_uscc(3)) == []


def test_the_lower_bound_of_time_is_inclusive_and_the_upper_exclusive(portal: Client) -> None:
    first, second = portal.submit(), portal.submit()

    from_second = portal.ListTickets(create_time_from=second.create_time)
    until_second = portal.ListTickets(create_time_until=second.create_time)

    assert [ticket.ticket_id for ticket in from_second.tickets] == [second.ticket_id]
    assert [ticket.ticket_id for ticket in until_second.tickets] == [first.ticket_id]


@pytest.mark.parametrize("bound", ["create_time_from", "create_time_until"])
@pytest.mark.parametrize("instant", [Timestamp(seconds=2**62), Timestamp(seconds=-(2**62)), Timestamp(nanos=-1), Timestamp(nanos=2**30)])
def test_a_time_that_is_none_is_refused_by_its_field(portal: Client, bound: str, instant: Timestamp) -> None:
    answer = refusal(lambda: portal.ListTickets(**{bound: instant}))

    assert answer.reason == "INVALID_FIELD"
    assert set(answer.violations) == {bound}


@pytest.mark.parametrize("uscc", ["\x00", "not a code", "9" * 17])
def test_what_cannot_be_a_credit_code_is_refused_by_its_field(portal: Client, uscc: str) -> None:
    answer = refusal(lambda: portal.ListTickets(uscc=uscc))

    assert answer.reason == "INVALID_FIELD"
    assert set(answer.violations) == {"uscc"}


def test_states_that_are_none_are_refused_in_one_line_however_many_they_are(portal: Client) -> None:
    answer = refusal(lambda: portal.ListTickets(states=[0, *range(100, 5000)]))

    assert answer.reason == "INVALID_FIELD"
    assert set(answer.violations) == {"states"}
    assert len(answer.message) < 1000


@pytest.mark.parametrize(("asked", "given"), [(0, 50), (1, 1), (200, 200), (201, 200), (2**31 - 1, 200)])
def test_the_page_size_has_a_default_and_a_most(portal: Client, monkeypatch: pytest.MonkeyPatch, asked: int, given: int) -> None:
    seen: list[int] = []
    monkeypatch.setattr("services.intake.adapters.grpc.list_tickets", lambda _uow, query: seen.append(query.size) or [], raising=True)

    portal.ListTickets(page_size=asked)

    assert seen == [given + 1]  # one more tells whether there is a next page


def test_a_negative_page_size_is_refused(portal: Client) -> None:
    answer = refusal(lambda: portal.ListTickets(page_size=-1))

    assert set(answer.violations) == {"page_size"}


def test_a_page_token_is_bound_to_its_filters(portal: Client) -> None:
    for _ in range(2):
        portal.submit()
    token = portal.ListTickets(page_size=1).next_page_token

    answer = refusal(lambda: portal.ListTickets(page_size=1, page_token=token, states=[ticket_pb2.TICKET_STATE_SUBMITTED]))
    same = portal.ListTickets(page_size=2, page_token=token)

    assert answer.reason == "INVALID_PAGE_TOKEN"
    assert len(same.tickets) == 1


def _token(portal: Client, *position: object) -> str:
    """Forge a token for the list without filters: its fingerprint is no secret."""
    filters = {
        "list": "tickets",
        "caller": [portal.caller.role, portal.caller.subject],
        "uscc": "",
        "states": [],
        "from": None,
        "until": None,
    }
    body = json.dumps([page._fingerprint(filters), *position])
    return base64.urlsafe_b64encode(body.encode()).decode().rstrip("=")


def test_forged_tokens_use_the_lists_own_fingerprint(portal: Client) -> None:
    ticket = portal.submit()

    answer = portal.ListTickets(page_token=_token(portal, (datetime.now(UTC) + timedelta(days=1)).isoformat(), "f"))

    assert [each.ticket_id for each in answer.tickets] == [ticket.ticket_id]


@pytest.mark.parametrize(
    "position",
    [
        [],
        ["2026-11-23T01:00:00+00:00"],
        ["2026-11-23T01:00:00+00:00", "x", "y"],
        ["yesterday", "x"],
        ["2026-11-23T01:00:00", "x"],
        ["2026-11-23T01:00:00+00:00", "\x00"],
        ["2026-11-23T01:00:00+00:00", "\ud800"],
        ["2026-11-23T01:00:00+00:00", 7],
    ],
)
def test_a_forged_position_is_refused(portal: Client, position: list[object]) -> None:
    answer = refusal(lambda: portal.ListTickets(page_token=_token(portal, *position)))

    assert answer.reason == "INVALID_PAGE_TOKEN"


@pytest.mark.parametrize(
    "token",
    ["x", "====", "工单", "\x00", "e30", base64.b64encode(b"[" * 200_000).decode(), "A" * 500_000],
    ids=["one letter", "padding", "Chinese", "NUL", "an object", "deep nesting", "long"],
)
def test_a_token_that_is_none_is_refused(portal: Client, token: str) -> None:
    answer = refusal(lambda: portal.ListTickets(page_token=token))

    assert answer.reason == "INVALID_PAGE_TOKEN"
