"""Who may call what, and that nobody sees another portal's tickets (I6)."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf import symbol_database

from chassis.caller import Role
from paidan.intake.v1 import intake_service_pb2 as pb
from paidan.intake.v1 import ticket_pb2
from services.intake.adapters.access import ACCESS
from services.intake.domain.types import TicketState
from tests.integration.intake.harness import PATIENCE_SECONDS, SERVICE, Client, a_request, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.intake.harness import Door, Store

METHODS = [method.name for method in pb.DESCRIPTOR.services_by_name["IntakeService"].methods]

ALLOWED = {
    "SubmitTicket": {Role.PORTAL},
    "GetTicket": {Role.PORTAL, Role.DESK, Role.OPERATOR},
    "ListTickets": {Role.PORTAL, Role.DESK, Role.OPERATOR},
    "WatchTicket": {Role.PORTAL, Role.DESK, Role.OPERATOR},
    "SupplementTicket": {Role.PORTAL},
    "WithdrawTicket": {Role.PORTAL},
    "RateTicket": {Role.PORTAL},
    "ReopenTicket": {Role.PORTAL},
    "GetContact": {Role.UNIT},
}
"""As the contract's comments say, written down a second time."""


def test_the_access_table_covers_exactly_the_methods_of_the_contract() -> None:
    assert symbol_database.Default().pool.FindServiceByName(SERVICE).name == "IntakeService"
    assert set(ACCESS) == set(METHODS)
    assert {method: set(roles) for method, roles in ACCESS.items()} == ALLOWED


def _call(client: Client, method: str) -> object:
    """Call a method with an empty request; read a stream to its first message."""
    called = getattr(client, method)()
    return next(called) if method == "WatchTicket" else called


@pytest.fixture(scope="module")
def clients(door: Door) -> dict[Role, Client]:
    return {role: door.client(role) for role in Role}


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("method", METHODS)
def test_a_role_gets_past_the_table_only_where_the_contract_says_so(clients: dict[Role, Client], method: str, role: Role) -> None:
    if role in ALLOWED[method] and method == "ListTickets":
        clients[role].ListTickets(page_size=1)
        return

    answer = refusal(lambda: _call(clients[role], method))

    if role in ALLOWED[method]:
        assert answer.reason in {"INVALID_FIELD", "TICKET_NOT_FOUND"}
    else:
        assert answer.code is grpc.StatusCode.PERMISSION_DENIED
        assert (answer.reason, answer.domain) == ("ROLE_NOT_ALLOWED", "paidan")
        assert answer.metadata == {"role": role.value, "method": method}


def test_a_method_that_is_missing_in_the_table_is_refused_to_everybody(
    door: Door, clients: dict[Role, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(ACCESS, "GetTicket")

    answers = [refusal(lambda client=client: client.GetTicket(ticket_id="x")) for client in clients.values()]

    assert {answer.reason for answer in answers} == {"ROLE_NOT_ALLOWED"}
    assert door.server._service.access is ACCESS


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic cGFpZGFu",
        "Bearer nonsense",
        "Bearer paidan_0123456789abcdef_wrong",
        "Bearer paidan__",
        "Bearer paidan_",
    ],
)
def test_without_a_token_that_holds_nothing_is_answered(door: Door, method: str, header: str | None) -> None:
    call = (door.channel.unary_stream if method == "WatchTicket" else door.channel.unary_unary)(
        f"/{SERVICE}/{method}", request_serializer=bytes, response_deserializer=bytes
    )
    metadata = [] if header is None else [("authorization", header)]

    def attempt() -> object:
        answer = call(b"", metadata=metadata, timeout=PATIENCE_SECONDS)
        return next(answer) if method == "WatchTicket" else answer

    answer = refusal(attempt)

    assert answer.code is grpc.StatusCode.UNAUTHENTICATED
    assert (answer.reason, answer.domain) == ("UNAUTHENTICATED", "paidan")


def test_a_wrong_secret_with_a_known_id_is_refused(door: Door, portal: Client) -> None:
    stolen = Client(door.channel, portal.token[:-1] + ("A" if portal.token[-1] != "A" else "B"))

    answer = refusal(lambda: stolen.ListTickets())

    assert answer.reason == "UNAUTHENTICATED"


def test_the_scheme_of_the_token_may_be_written_small(door: Door, portal: Client) -> None:
    call = door.channel.unary_unary(
        f"/{SERVICE}/ListTickets",
        request_serializer=pb.ListTicketsRequest.SerializeToString,
        response_deserializer=pb.ListTicketsResponse.FromString,
    )

    answer = call(pb.ListTicketsRequest(), metadata=[("authorization", f"bearer {portal.token}")], timeout=PATIENCE_SECONDS)

    assert list(answer.tickets) == []


ATTEMPTS: dict[str, Callable[[Client, str], object]] = {
    "GetTicket": lambda client, reference: client.GetTicket(ticket_id=reference),
    "WatchTicket": lambda client, reference: next(client.watch(reference)),
    "SupplementTicket": lambda client, reference: client.SupplementTicket(ticket_id=reference, request_id="r", text="合同"),
    "WithdrawTicket": lambda client, reference: client.WithdrawTicket(ticket_id=reference),
    "RateTicket": lambda client, reference: client.RateTicket(ticket_id=reference, solved=ticket_pb2.SOLVED_YES, score=5),
    "ReopenTicket": lambda client, reference: client.ReopenTicket(ticket_id=reference, reason="没有解决"),
}


@pytest.mark.parametrize("by", ["ticket_id", "number"])
@pytest.mark.parametrize("method", ATTEMPTS)
@pytest.mark.parametrize("state", [TicketState.AWAITING_SUPPLEMENT, TicketState.RESOLVED])
def test_a_portal_cannot_tell_anothers_ticket_from_none(
    door: Door, store: Store, portal: Client, method: str, by: str, state: TicketState
) -> None:
    theirs = door.portal().submit()
    store.bring(theirs.ticket_id, state)
    reference = getattr(theirs, by)
    nothing = str(uuid.uuid4())

    refused = refusal(lambda: ATTEMPTS[method](portal, reference))
    missing = refusal(lambda: ATTEMPTS[method](portal, nothing))

    assert refused.code is grpc.StatusCode.NOT_FOUND
    assert (refused.reason, refused.domain) == ("TICKET_NOT_FOUND", "intake.paidan")
    assert refused.message.replace(reference, nothing) == missing.message
    assert refused.metadata == missing.metadata


def test_every_method_about_one_ticket_is_among_the_attempts() -> None:
    about_one = {method for method in METHODS if "ticket_id" in getattr(pb, f"{method}Request").DESCRIPTOR.fields_by_name}

    assert about_one == {*ATTEMPTS, "GetContact"}


def test_a_portals_list_holds_its_own_tickets_alone_whatever_it_asks_for(door: Door, portal: Client) -> None:
    other = door.portal()
    mine, theirs = portal.submit(), other.submit()

    by_enterprise = portal.ListTickets(uscc=theirs.enterprise.uscc, page_size=200)
    everything = portal.ListTickets(page_size=200)

    assert [ticket.ticket_id for ticket in everything.tickets] == [mine.ticket_id]
    assert [ticket.ticket_id for ticket in by_enterprise.tickets] == [mine.ticket_id]


def test_a_page_token_of_another_portal_is_refused(door: Door, portal: Client) -> None:
    other = door.portal()
    for client in (portal, other):
        for _ in range(2):
            client.submit()
    token = other.ListTickets(page_size=1).next_page_token

    answer = refusal(lambda: portal.ListTickets(page_size=1, page_token=token))

    assert token
    assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PAGE_TOKEN")
    assert set(answer.violations) == {"page_token"}


def test_a_portal_named_like_a_desk_is_still_a_portal(door: Door, portal: Client) -> None:
    theirs = portal.submit()
    desk, namesake = door.client(Role.DESK), None
    namesake = door.client(Role.PORTAL, desk.caller.subject)

    assert desk.GetTicket(ticket_id=theirs.ticket_id).ticket.ticket_id == theirs.ticket_id
    assert refusal(lambda: namesake.GetTicket(ticket_id=theirs.ticket_id)).reason == "TICKET_NOT_FOUND"


@pytest.mark.parametrize("role", [Role.DESK, Role.OPERATOR])
def test_the_desk_and_operators_see_every_portals_tickets(door: Door, portal: Client, role: Role) -> None:
    theirs = portal.submit()
    staff = door.client(role)

    assert staff.GetTicket(ticket_id=theirs.number).ticket == theirs
    assert next(staff.watch(theirs.number)).change.version == 1
    assert staff.ListTickets(page_size=1).tickets[0].ticket_id == theirs.ticket_id


def test_a_request_id_of_another_portal_tells_nothing(door: Door, portal: Client) -> None:
    other = door.portal()
    theirs = other.submit(request_id="shared")

    mine = portal.SubmitTicket(a_request(request_id="shared"))

    assert not mine.duplicate
    assert mine.ticket.ticket_id != theirs.ticket_id
