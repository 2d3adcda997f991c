"""SubmitTicket: durable before OK, and the same request again is the same ticket."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import grpc
import pytest
from sqlalchemy import func, select

from chassis.clock import SystemClock
from chassis.testing import ManualClock
from paidan.intake.v1 import ticket_pb2
from services.intake.adapters import sql, tables
from services.intake.application.close_resolved import CloseResolved
from services.intake.application.import_enterprises import import_enterprises
from services.intake.application.submit_tickets import SubmitTickets
from services.intake.domain.number import is_number
from services.intake.domain.ticket import Enterprise
from services.intake.domain.types import DistrictCode, TicketState
from tests.integration.intake.harness import a_request, refusal
from tests.unit.intake.builders import some_uscc, submission

if TYPE_CHECKING:
    from tests.integration.intake.harness import Client, Door, Store


def test_an_answer_means_that_ticket_contact_and_event_are_in_the_database(portal: Client, store: Store) -> None:
    request = a_request(confidential=True)

    answer = portal.SubmitTicket(request)

    ticket = answer.ticket
    assert not answer.duplicate
    assert is_number(ticket.number)
    assert (ticket.portal, ticket.text, ticket.state, ticket.version) == (
        portal.caller.subject,
        request.text,
        ticket_pb2.TICKET_STATE_SUBMITTED,
        1,
    )
    assert ticket.enterprise == request.enterprise
    assert ticket.confidential
    with store.admin.connect() as conn:
        stored = conn.execute(select(tables.ticket_table).where(tables.ticket_table.c.ticket_id == ticket.ticket_id)).one()
        contact = conn.execute(select(tables.contact_table).where(tables.contact_table.c.ticket_id == ticket.ticket_id)).one()
        event = conn.execute(select(tables.outbox).where(tables.outbox.c.aggregateid == ticket.ticket_id)).one()
    assert stored.number == ticket.number
    assert (contact.name, contact.phone) == (request.contact.name, request.contact.phone)
    assert (event.aggregatetype, event.type) == ("intake.tickets.v1", "paidan.intake.v1.TicketSubmitted")


def test_the_same_request_again_gives_the_same_ticket_and_stores_nothing(portal: Client, store: Store) -> None:
    request = a_request()
    first = portal.SubmitTicket(request)

    second = portal.SubmitTicket(request)

    assert (first.duplicate, second.duplicate) == (False, True)
    assert second.ticket == first.ticket
    assert _tickets_of(store, portal) == 1


def test_a_repetition_shows_the_ticket_as_it_stands_now(portal: Client) -> None:
    request = a_request()
    first = portal.SubmitTicket(request).ticket
    portal.WithdrawTicket(ticket_id=first.ticket_id)

    second = portal.SubmitTicket(request).ticket

    assert (second.state, second.version) == (ticket_pb2.TICKET_STATE_WITHDRAWN, 2)


@pytest.mark.parametrize(
    "changed",
    [
        {"text": "另一件事"},
        {"confidential": True},
        {"district_code": "500108"},
        {"channel": ticket_pb2.CHANNEL_WEB},
        {"contact": ticket_pb2.Contact(name="王小明", phone="023-67890001")},
        {"contact": ticket_pb2.Contact(name="王大明", phone="023-67890000")},
    ],
)
def test_a_different_request_under_the_same_id_is_refused_and_stores_nothing(
    portal: Client, store: Store, changed: dict[str, object]
) -> None:
    portal.SubmitTicket(a_request(request_id="same"))

    answer = refusal(lambda: portal.SubmitTicket(a_request(request_id="same", **changed)))

    assert answer.code is grpc.StatusCode.ALREADY_EXISTS
    assert (answer.reason, answer.domain) == ("REQUEST_ID_REUSED", "intake.paidan")
    assert answer.metadata == {"request_id": "same"}
    assert _tickets_of(store, portal) == 1


def test_two_portals_may_use_the_same_request_id(door: Door) -> None:
    one, other = door.portal(), door.portal()
    request = a_request()

    tickets = [one.SubmitTicket(request), other.SubmitTicket(request)]

    assert not any(answer.duplicate for answer in tickets)
    assert tickets[0].ticket.ticket_id != tickets[1].ticket.ticket_id


def test_sixteen_at_once_with_one_request_id_make_one_ticket(portal: Client, store: Store) -> None:
    request = a_request()

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: portal.SubmitTicket(request), range(16)))

    assert len({answer.ticket.ticket_id for answer in answers}) == 1
    assert sum(not answer.duplicate for answer in answers) == 1
    assert _tickets_of(store, portal) == 1


def test_sixteen_at_once_with_one_request_id_and_two_bodies_make_one_ticket_and_refuse_the_other_body(portal: Client, store: Store) -> None:
    requests = [a_request(request_id="contested", text=f"说法{i % 2}") for i in range(16)]

    def submit(i: int) -> str:
        try:
            return str(portal.SubmitTicket(requests[i]).ticket.text)
        except grpc.RpcError as error:
            return str(error.code())

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(submit, range(16)))

    refused = str(grpc.StatusCode.ALREADY_EXISTS)
    winner = next(outcome for outcome in outcomes if outcome != refused)
    assert sorted(outcomes) == sorted([winner] * 8 + [refused] * 8)
    assert _tickets_of(store, portal) == 1


def test_many_at_once_get_numbers_of_their_own_and_share_commits(door: Door, portal: Client) -> None:
    before = door.count("paidan_intake_submit_group_requests_count")

    with ThreadPoolExecutor(16) as pool:
        tickets = list(pool.map(lambda _: portal.submit(district_code="500112"), range(64)))

    numbers = sorted(int(ticket.number.split("-")[2]) for ticket in tickets)
    assert numbers == list(range(numbers[0], numbers[0] + 64))
    assert door.count("paidan_intake_submit_group_requests_count") - before < 64


def test_without_a_district_the_number_carries_that_of_the_credit_code(portal: Client) -> None:
    ticket = portal.submit(district_code="")

    assert ticket.number.split("-")[1] == "350100"
    assert ticket.district_code == ""


def test_every_wrong_field_is_named_at_once(portal: Client) -> None:
    answer = refusal(
        lambda: portal.SubmitTicket(
            request_id="no blanks",
            enterprise=ticket_pb2.Enterprise(uscc="91310115MA1H8R7C6D", name=" "),
            contact=ticket_pb2.Contact(name="", phone="call me"),
            text="\t\n",
            channel=ticket_pb2.CHANNEL_UNSPECIFIED,
            district_code="Chongqing",
        ),
    )

    assert answer.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (answer.reason, answer.domain) == ("INVALID_FIELD", "intake.paidan")
    assert set(answer.violations) == {
        "request_id",
        "enterprise.uscc",
        "enterprise.name",
        "contact.name",
        "contact.phone",
        "text",
        "channel",
        "district_code",
    }
    assert answer.retry_seconds is None


def test_a_district_that_is_not_in_the_catalogue_is_refused_at_the_door(portal: Client) -> None:
    answer = refusal(lambda: portal.submit(district_code="500999"))

    assert (answer.code, answer.reason, set(answer.violations)) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", {"district_code"})


def test_an_empty_request_is_refused_by_its_fields(portal: Client) -> None:
    answer = refusal(lambda: portal.SubmitTicket())

    assert answer.reason == "INVALID_FIELD"
    assert "enterprise.uscc" in answer.violations


def test_a_channel_of_a_newer_contract_is_refused(portal: Client) -> None:
    answer = refusal(lambda: portal.SubmitTicket(a_request(channel=99)))

    assert set(answer.violations) == {"channel"}


def test_five_thousand_characters_are_taken_also_if_each_is_an_emoji(portal: Client) -> None:
    text = "😀" * 5000

    assert portal.submit(text=f"  {text}\n").text == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("长" * 5001, "has 5001 characters, at most 5000"),
        ("被\x00截断", "U+0000"),
        ("a\x1bb", "U+001B"),
        ("a\x84b", "U+0084 at position 2"),
        ("从右\u202e到左", "U+202E"),
        ("孤\u2066立", "U+2066"),
    ],
)
def test_text_that_a_screen_or_a_database_would_take_amiss_is_refused(portal: Client, text: str, said: str) -> None:
    answer = refusal(lambda: portal.SubmitTicket(a_request(text=text)))

    assert set(answer.violations) == {"text"}
    assert said in answer.violations["text"]


def test_a_message_over_one_mebibyte_is_refused_before_it_is_read(portal: Client) -> None:
    answer = refusal(lambda: portal.SubmitTicket(a_request(text="a" * (1024 * 1024 + 1))))

    assert answer.code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_message_just_under_one_mebibyte_is_judged_by_its_fields(portal: Client) -> None:
    answer = refusal(lambda: portal.SubmitTicket(a_request(text="a" * (1024 * 1024 - 500))))

    assert answer.reason == "INVALID_FIELD"


def _tickets_of(store: Store, portal: Client) -> int:
    with store.admin.connect() as conn:
        statement = select(func.count()).select_from(tables.ticket_table).where(tables.ticket_table.c.portal == portal.caller.subject)
        return int(conn.scalar(statement) or 0)


def test_within_one_group_the_same_request_is_one_ticket_and_another_body_is_refused(store: Store) -> None:
    first, other = submission(request_id="g-1"), submission(request_id="g-2", district=DistrictCode("500112"))
    changed = replace(first, text="另一件事")
    submit = SubmitTickets(SystemClock(), sql.new_ticket_id)

    with store.open() as uow:
        answers = submit(uow, [first, other, replace(first), changed])
        uow.commit()
    with store.open() as uow:
        again = submit(uow, [changed, first, other])
        uow.commit()

    assert [type(answer).__name__ for answer in answers] == ["Submitted", "Submitted", "Submitted", "RequestIdReused"]
    assert [answer.duplicate for answer in answers[:3]] == [False, False, True]
    assert answers[0].ticket.ticket_id == answers[2].ticket.ticket_id != answers[1].ticket.ticket_id
    assert [type(answer).__name__ for answer in again] == ["RequestIdReused", "Submitted", "Submitted"]
    assert [answer.ticket.ticket_id for answer in again[1:]] == [answers[0].ticket.ticket_id, answers[1].ticket.ticket_id]
    assert all(answer.duplicate for answer in again[1:])


def test_where_the_enterprise_is_registered_the_registry_knows_better_than_the_credit_code(store: Store) -> None:
    known, unknown = some_uscc(71), some_uscc(72)
    with store.open() as uow:
        import_enterprises(uow, [Enterprise(uscc=known, name="甲公司", district=DistrictCode("500119"))])
        uow.commit()

    with store.open() as uow:
        answers = SubmitTickets(SystemClock(), sql.new_ticket_id)(
            uow, [submission(uscc=uscc, district=DistrictCode("")) for uscc in (known, unknown)]
        )
        uow.commit()

    assert [answer.ticket.enterprise.district for answer in answers] == ["500119", unknown[2:8]]
    assert [answer.ticket.number.split("-")[1] for answer in answers] == ["500119", unknown[2:8]]


def test_the_day_of_a_number_is_that_of_shanghai(store: Store) -> None:
    before_midnight = ManualClock(datetime(2031, 5, 1, 15, 59, 59, tzinfo=UTC))
    submit = SubmitTickets(before_midnight, sql.new_ticket_id)

    numbers = []
    for _ in range(2):
        with store.open() as uow:
            (answer,) = submit(uow, [submission()])
            uow.commit()
        numbers.append(answer.ticket.number[:8])
        before_midnight.advance(timedelta(seconds=1))

    assert numbers == ["20310501", "20310502"]


def test_what_nobody_disputed_for_seven_days_is_closed_and_told(store: Store) -> None:
    with store.open() as uow:
        (answer,) = SubmitTickets(SystemClock(), sql.new_ticket_id)(uow, [submission()])
        uow.commit()
    key = answer.ticket.ticket_id
    store.bring(key, TicketState.RESOLVED, at=datetime(2001, 1, 1, tzinfo=UTC))
    close = CloseResolved(ManualClock(datetime(2001, 1, 8, tzinfo=UTC)))
    closed = []
    for later in (timedelta(0), timedelta(microseconds=1), timedelta(seconds=1)):
        close._clock.set(datetime(2001, 1, 8, tzinfo=UTC) + later)
        with store.open() as uow:
            closed.append(close(uow))
            uow.commit()

    with store.open() as uow:
        assert uow.tickets.get(key).state is TicketState.CLOSED
    with store.admin.connect() as conn:
        kinds = list(conn.scalars(select(tables.outbox.c.type).where(tables.outbox.c.aggregateid == key).order_by(tables.outbox.c.seq)))
    assert closed == [0, 1, 0]
    assert kinds[-1] == "paidan.intake.v1.TicketClosed"
