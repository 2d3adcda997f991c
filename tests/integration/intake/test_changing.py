"""SupplementTicket, WithdrawTicket, RateTicket and ReopenTicket: what each may do, and when."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from sqlalchemy import select

from paidan.intake.v1 import events_pb2, ticket_pb2
from services.intake.adapters import tables
from services.intake.domain.types import TicketState
from tests.integration.intake.harness import refusal

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from tests.integration.intake.harness import Client, Store


@pytest.fixture
def asked(store: Store, portal: Client) -> ticket_pb2.Ticket:
    """A ticket whose lead asks for material."""
    ticket = portal.submit()
    store.bring(ticket.ticket_id, TicketState.AWAITING_SUPPLEMENT)
    return portal.GetTicket(ticket_id=ticket.ticket_id).ticket


@pytest.fixture
def resolved(store: Store, portal: Client) -> ticket_pb2.Ticket:
    ticket = portal.submit()
    store.bring(ticket.ticket_id, TicketState.RESOLVED)
    return portal.GetTicket(ticket_id=ticket.ticket_id).ticket


def test_a_supplement_answers_the_question_and_is_told(store: Store, portal: Client, asked: ticket_pb2.Ticket) -> None:
    answer = portal.SupplementTicket(ticket_id=asked.number, request_id="s-1", text=" 合同在此 ", attachment_refs=["a", "b"])

    assert asked.supplement_question == "请补充合同"
    assert answer.ticket.state == ticket_pb2.TICKET_STATE_ACCEPTED
    assert answer.ticket.supplement_question == ""
    assert answer.ticket.version == asked.version + 1
    told = _last_event(store, asked.ticket_id, events_pb2.TicketSupplemented)
    assert (told.text, list(told.attachment_refs)) == ("合同在此", ["a", "b"])


def test_the_same_supplement_again_changes_nothing(store: Store, portal: Client, asked: ticket_pb2.Ticket) -> None:
    for _ in range(2):
        answer = portal.SupplementTicket(ticket_id=asked.ticket_id, request_id="s-1", text="合同")

    assert answer.ticket.version == asked.version + 1
    assert len(_events(store, asked.ticket_id)) == 2


def test_a_supplement_that_is_known_is_told_apart(portal: Client, asked: ticket_pb2.Ticket) -> None:
    answers = [portal.SupplementTicket(ticket_id=each, request_id="s-1", text="合同") for each in (asked.ticket_id, asked.number)]

    assert [answer.duplicate for answer in answers] == [False, True]


def test_other_material_under_the_id_of_an_earlier_answer_is_refused_when_the_unit_asks_again(
    store: Store, portal: Client, asked: ticket_pb2.Ticket
) -> None:
    portal.SupplementTicket(ticket_id=asked.ticket_id, request_id="1", text="合同")
    store.bring(asked.ticket_id, TicketState.AWAITING_SUPPLEMENT)

    answer = refusal(lambda: portal.SupplementTicket(ticket_id=asked.ticket_id, request_id="1", text="发票"))

    assert (answer.code, answer.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


def test_other_material_under_the_same_id_is_refused(portal: Client, asked: ticket_pb2.Ticket) -> None:
    portal.SupplementTicket(ticket_id=asked.ticket_id, request_id="s-1", text="合同")

    answer = refusal(lambda: portal.SupplementTicket(ticket_id=asked.ticket_id, request_id="s-1", text="合同", attachment_refs=["a"]))

    assert (answer.code, answer.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


def test_a_supplements_request_id_is_of_its_ticket_alone(store: Store, portal: Client, asked: ticket_pb2.Ticket) -> None:
    other = portal.submit(request_id="s-1")
    store.bring(other.ticket_id, TicketState.AWAITING_SUPPLEMENT)

    answers = [portal.SupplementTicket(ticket_id=each.ticket_id, request_id="s-1", text=each.number) for each in (asked, other)]

    assert {answer.ticket.state for answer in answers} == {ticket_pb2.TICKET_STATE_ACCEPTED}


def test_sixteen_times_the_same_supplement_at_once_has_one_effect(portal: Client, asked: ticket_pb2.Ticket) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(
            pool.map(lambda _: portal.SupplementTicket(ticket_id=asked.ticket_id, request_id="s-1", text="合同"), range(16)),
        )

    assert {answer.ticket.version for answer in answers} == {asked.version + 1}


def test_a_supplement_that_nobody_asked_for_is_refused(portal: Client) -> None:
    ticket = portal.submit()

    answer = refusal(lambda: portal.SupplementTicket(ticket_id=ticket.ticket_id, request_id="s-1", text="合同"))

    assert (answer.code, answer.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "STATE_CONFLICT")
    assert answer.metadata == {"state": "SUBMITTED", "allowed": "AWAITING_SUPPLEMENT"}


def test_a_refused_supplement_leaves_its_request_id_free(store: Store, portal: Client) -> None:
    ticket = portal.submit()
    refusal(lambda: portal.SupplementTicket(ticket_id=ticket.ticket_id, request_id="s-1", text="太早了"))
    store.bring(ticket.ticket_id, TicketState.AWAITING_SUPPLEMENT)

    answer = portal.SupplementTicket(ticket_id=ticket.ticket_id, request_id="s-1", text="合同")

    assert answer.ticket.state == ticket_pb2.TICKET_STATE_ACCEPTED


def test_every_wrong_field_of_a_supplement_is_named(portal: Client, asked: ticket_pb2.Ticket) -> None:
    answer = refusal(
        lambda: portal.SupplementTicket(
            ticket_id=asked.ticket_id, request_id="", text="\x00", attachment_refs=["", "x" * 501, "good", *["y"] * 18]
        ),
    )

    assert answer.reason == "INVALID_FIELD"
    assert set(answer.violations) == {"request_id", "text", "attachment_refs", "attachment_refs[0]", "attachment_refs[1]"}


def test_a_withdrawal_ends_the_ticket_and_is_told(store: Store, portal: Client, asked: ticket_pb2.Ticket) -> None:
    answer = portal.WithdrawTicket(ticket_id=asked.number, reason="自行解决了")

    assert answer.ticket.state == ticket_pb2.TICKET_STATE_WITHDRAWN
    assert answer.ticket.supplement_question == ""
    assert _last_event(store, asked.ticket_id, events_pb2.TicketWithdrawn).reason == "自行解决了"


def test_withdrawing_twice_changes_nothing_the_second_time(store: Store, portal: Client) -> None:
    ticket = portal.submit()
    answers = [portal.WithdrawTicket(ticket_id=ticket.ticket_id, reason=reason) for reason in ("一", "二")]

    assert answers[0] == answers[1]
    assert len(_events(store, ticket.ticket_id)) == 2


def test_a_resolved_ticket_cannot_be_withdrawn(portal: Client, resolved: ticket_pb2.Ticket) -> None:
    answer = refusal(lambda: portal.WithdrawTicket(ticket_id=resolved.ticket_id))

    assert answer.reason == "STATE_CONFLICT"
    assert answer.metadata["state"] == "RESOLVED"


def test_a_reason_that_is_too_long_is_refused(portal: Client, resolved: ticket_pb2.Ticket) -> None:
    answers = [
        refusal(lambda: portal.WithdrawTicket(ticket_id=resolved.ticket_id, reason="长" * 1001)),
        refusal(lambda: portal.ReopenTicket(ticket_id=resolved.ticket_id, reason="长" * 1001)),
        refusal(lambda: portal.ReopenTicket(ticket_id=resolved.ticket_id, reason=" ")),
    ]

    assert [set(answer.violations) for answer in answers] == [{"reason"}] * 3


@pytest.mark.parametrize(
    ("solved", "state", "kinds"),
    [
        (ticket_pb2.SOLVED_YES, ticket_pb2.TICKET_STATE_CLOSED, ["TicketRated", "TicketClosed"]),
        (ticket_pb2.SOLVED_NO_VIEW, ticket_pb2.TICKET_STATE_CLOSED, ["TicketRated", "TicketClosed"]),
        (ticket_pb2.SOLVED_NO, ticket_pb2.TICKET_STATE_RESOLVED, ["TicketRated"]),
    ],
)
def test_a_rating_closes_unless_it_says_not_solved(
    store: Store, portal: Client, resolved: ticket_pb2.Ticket, solved: int, state: int, kinds: list[str]
) -> None:
    answer = portal.RateTicket(ticket_id=resolved.number, solved=solved, score=4, comment=" 还行 ")

    assert answer.ticket.state == state
    assert (answer.ticket.rating.solved, answer.ticket.rating.score, answer.ticket.rating.comment) == (solved, 4, "还行")
    assert [row.type.rpartition(".")[2] for row in _events(store, resolved.ticket_id)[1:]] == kinds


def test_a_later_rating_replaces_the_earlier_and_closes_no_second_time(store: Store, portal: Client, resolved: ticket_pb2.Ticket) -> None:
    portal.RateTicket(ticket_id=resolved.ticket_id, solved=ticket_pb2.SOLVED_YES, score=5)

    answer = portal.RateTicket(ticket_id=resolved.ticket_id, solved=ticket_pb2.SOLVED_NO, score=1, comment="又坏了")

    assert answer.ticket.state == ticket_pb2.TICKET_STATE_CLOSED
    assert (answer.ticket.rating.score, answer.ticket.rating.comment) == (1, "又坏了")
    kinds = [row.type.rpartition(".")[2] for row in _events(store, resolved.ticket_id)]
    assert kinds == ["TicketSubmitted", "TicketRated", "TicketClosed", "TicketRated"]


def test_a_ticket_without_result_cannot_be_rated(portal: Client) -> None:
    ticket = portal.submit()

    answer = refusal(lambda: portal.RateTicket(ticket_id=ticket.ticket_id, solved=ticket_pb2.SOLVED_YES, score=5))

    assert answer.reason == "STATE_CONFLICT"
    assert answer.metadata == {"state": "SUBMITTED", "allowed": "CLOSED, RESOLVED"}


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"solved": ticket_pb2.SOLVED_UNSPECIFIED}, "solved"),
        ({"solved": 77}, "solved"),
        ({"score": 0}, "score"),
        ({"score": 6}, "score"),
        ({"score": -5}, "score"),
        ({"comment": "长" * 1001}, "comment"),
        ({"comment": "\u202e"}, "comment"),
    ],
)
def test_a_wrong_field_of_a_rating_is_named(portal: Client, resolved: ticket_pb2.Ticket, changed: dict[str, Any], field: str) -> None:
    fields = {"ticket_id": resolved.ticket_id, "solved": ticket_pb2.SOLVED_YES, "score": 5, **changed}

    answer = refusal(lambda: portal.RateTicket(**fields))

    assert set(answer.violations) == {field}


@pytest.mark.parametrize("closed", [False, True])
def test_a_reopened_ticket_starts_anew(store: Store, portal: Client, resolved: ticket_pb2.Ticket, *, closed: bool) -> None:
    if closed:
        portal.RateTicket(ticket_id=resolved.ticket_id, solved=ticket_pb2.SOLVED_YES, score=5)

    ticket = portal.ReopenTicket(ticket_id=resolved.number, reason="没有解决").ticket

    assert (ticket.state, ticket.reopen_count) == (ticket_pb2.TICKET_STATE_SUBMITTED, 1)
    assert (ticket.lead_unit, ticket.resolution) == ("", "")
    assert not ticket.HasField("rating")
    assert not ticket.HasField("due_time")
    told = _last_event(store, resolved.ticket_id, events_pb2.TicketReopened)
    assert (told.reason, told.reopen_count) == ("没有解决", 1)


def test_an_open_ticket_cannot_be_reopened(portal: Client, asked: ticket_pb2.Ticket) -> None:
    answer = refusal(lambda: portal.ReopenTicket(ticket_id=asked.ticket_id, reason="太慢"))

    assert answer.reason == "STATE_CONFLICT"
    assert answer.metadata == {"state": "AWAITING_SUPPLEMENT", "allowed": "CLOSED, RESOLVED"}


def test_thirty_days_after_its_resolution_a_ticket_cannot_be_reopened(store: Store, portal: Client) -> None:
    ticket = portal.submit()
    store.bring(ticket.ticket_id, TicketState.RESOLVED, at=datetime.now(UTC) - timedelta(days=30))

    answer = refusal(lambda: portal.ReopenTicket(ticket_id=ticket.ticket_id, reason="没有解决"))

    assert (answer.code, answer.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "REOPEN_WINDOW_OVER")
    assert datetime.fromisoformat(answer.metadata["until"]) < datetime.now(UTC)


def test_a_refused_change_changes_nothing(store: Store, portal: Client) -> None:
    ticket = portal.submit()

    refusal(lambda: portal.RateTicket(ticket_id=ticket.ticket_id, solved=ticket_pb2.SOLVED_YES, score=5))
    refusal(lambda: portal.ReopenTicket(ticket_id=ticket.ticket_id, reason="没有解决"))

    assert portal.GetTicket(ticket_id=ticket.ticket_id).ticket == ticket
    assert len(_events(store, ticket.ticket_id)) == 1


def _events(store: Store, ticket_id: str) -> list[Any]:
    with store.admin.connect() as conn:
        return list(conn.execute(select(tables.outbox).where(tables.outbox.c.aggregateid == ticket_id).order_by(tables.outbox.c.seq)))


def _last_event(store: Store, ticket_id: str, kind: type[Message]) -> Any:
    row = _events(store, ticket_id)[-1]
    assert row.type == kind.DESCRIPTOR.full_name
    return kind.FromString(row.payload)
