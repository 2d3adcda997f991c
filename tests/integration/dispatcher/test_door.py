"""The gRPC door as units and the desk see it, over a real socket."""

from __future__ import annotations

import itertools
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from pydantic import SecretStr
from sqlalchemy import create_engine

from chassis.caller import Caller, Role
from chassis.grpc import GrpcServer
from chassis.identity.tokens import issue
from chassis.settings import KafkaSettings
from deploy.local.ports import free_port
from paidan.classifier.v1 import classification_pb2
from paidan.dispatcher.v1 import dispatch_pb2
from paidan.dispatcher.v1 import dispatcher_service_pb2 as pb
from paidan.dispatcher.v1.dispatcher_service_pb2_grpc import DispatcherServiceStub
from services.dispatcher.adapters.access import ACCESS
from services.dispatcher.bootstrap import build
from services.dispatcher.settings import DispatcherSettings
from tests.integration.dispatcher.harness import (
    accepting,
    classified,
    deadline,
    new_ticket,
    receipt,
    reopened,
    resolving,
    returning,
    stamp,
    submitted,
)
from tests.unit.dispatcher.builders import FINANCE, INDUSTRY, MARKET, NOON, YUZHONG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from services.dispatcher.domain.values import TicketId
    from tests.integration.dispatcher.harness import Harness

PATIENCE_SECONDS = 20

_names = itertools.count(1)


@dataclass(frozen=True)
class Answer:
    """A refusal as a client reads it."""

    code: grpc.StatusCode
    reason: str = ""
    domain: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    fields: tuple[str, ...] = ()


def refusal(call: Callable[[], object]) -> Answer:
    """Make a call that must be refused; return the refusal."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert isinstance(caught.value, grpc.Call)
    status = rpc_status.from_call(caught.value)
    found: dict[str, Any] = {"code": caught.value.code()}
    for packed in status.details if status is not None else ():
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if packed.Unpack(info):
            found |= {"reason": info.reason, "domain": info.domain, "metadata": dict(info.metadata)}
        elif packed.Unpack(bad):
            found["fields"] = tuple(each.field for each in bad.field_violations)
    return Answer(**found)


class Client:
    """One caller: `client.GetDispatch(ticket_id=…)`."""

    def __init__(self, channel: grpc.Channel, token: str) -> None:
        self._stub = DispatcherServiceStub(channel)
        self._metadata = [("authorization", f"Bearer {token}")]

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(**fields: Any) -> Any:
            request = getattr(pb, f"{method}Request")(**fields)
            return getattr(self._stub, method)(request, metadata=self._metadata, timeout=PATIENCE_SECONDS)

        return call


class Door:
    def __init__(self, url: str, channel: grpc.Channel) -> None:
        self._url = url
        self._channel = channel

    def client(self, role: Role, subject: str | None = None) -> Client:
        admin = create_engine(self._url)
        with admin.begin() as conn:
            token = issue(conn, Caller(role, subject or f"{role.value}-{next(_names)}")).token
        admin.dispose()
        return Client(self._channel, token)

    def unit(self, code: str) -> Client:
        return self.client(Role.UNIT, code)

    @property
    def desk(self) -> Client:
        return self.client(Role.DESK, "desk-7")


@contextmanager
def open_door(url: str) -> Iterator[Door]:
    settings = DispatcherSettings(
        database_url=SecretStr(url),
        kafka=KafkaSettings(bootstrap="127.0.0.1:1"),
        grpc_address=f"127.0.0.1:{free_port()}",
        health_address=f"127.0.0.1:{free_port()}",
        metrics_address=f"127.0.0.1:{free_port()}",
    )
    server = build(settings)[0]
    assert isinstance(server, GrpcServer)
    server._drain_notice, server._drain_grace = timedelta(0), timedelta(milliseconds=200)
    stop = threading.Event()
    thread = threading.Thread(target=server.run, args=(stop,))
    thread.start()
    channel = grpc.insecure_channel(settings.grpc_address)
    try:
        grpc.channel_ready_future(channel).result(timeout=PATIENCE_SECONDS)
        yield Door(url, channel)
    finally:
        channel.close()
        stop.set()
        thread.join(PATIENCE_SECONDS)
        server._gate._authenticator._engine.dispose()


@pytest.fixture(scope="module")
def door(dispatcher_url: str) -> Iterator[Door]:
    with open_door(dispatcher_url) as opened:
        yield opened


@pytest.fixture
def dispatched(harness: Harness, ticket_id: TicketId) -> TicketId:
    """A ticket in the hands of the industry department, with the team of Yuzhong helping."""
    harness.feed(submitted(ticket_id), classified(ticket_id))
    harness.sent(ticket_id)
    return ticket_id


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("method", list(ACCESS))
def test_a_role_may_call_what_the_table_says_and_nothing_else(door: Door, method: str, role: Role) -> None:
    call = getattr(door.client(role), method)

    if role in ACCESS[method]:
        try:
            call()
        except grpc.RpcError as error:
            assert error.code() in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}  # noqa: PT017 - either may be
    else:
        answer = refusal(call)
        assert (answer.code, answer.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED")


def test_every_method_of_the_service_is_in_the_table() -> None:
    methods = {method.name for method in pb.DESCRIPTOR.services_by_name["DispatcherService"].methods}

    assert set(ACCESS) == methods


@pytest.mark.parametrize(("unit", "sees"), [(INDUSTRY, True), (YUZHONG, True), (MARKET, False), ("dutydesk", False)])
def test_a_unit_sees_what_it_leads_or_helps_with_and_nothing_else(door: Door, dispatched: TicketId, unit: str, *, sees: bool) -> None:
    client = door.unit(unit)

    listed = [each.ticket_id for each in client.ListDispatches(page_size=200).dispatches]

    assert (dispatched in listed) is sees
    if sees:
        assert client.GetDispatch(ticket_id=dispatched).dispatch.ticket_id == dispatched
    else:
        assert refusal(lambda: client.GetDispatch(ticket_id=dispatched)).reason == "DISPATCH_NOT_FOUND"
        assert refusal(lambda: client.Accept(ticket_id=dispatched, epoch=1)).reason == "DISPATCH_NOT_FOUND"


def test_a_unit_that_returned_a_ticket_no_longer_sees_it(door: Door, harness: Harness, dispatched: TicketId) -> None:
    harness.feed(returning(INDUSTRY, dispatched, to=MARKET))

    assert refusal(lambda: door.unit(INDUSTRY).GetDispatch(ticket_id=dispatched)).reason == "DISPATCH_NOT_FOUND"
    assert door.unit(MARKET).GetDispatch(ticket_id=dispatched).dispatch.epoch == 2


def test_another_units_list_is_empty_for_a_unit(door: Door, dispatched: TicketId) -> None:
    assert list(door.unit(MARKET).ListDispatches(unit=INDUSTRY).dispatches) == []
    assert dispatched in {each.ticket_id for each in door.desk.ListDispatches(unit=INDUSTRY, page_size=200).dispatches}


def test_a_dispatch_is_read_whole_by_id_or_by_number(door: Door, harness: Harness, dispatched: TicketId) -> None:
    harness.feed(deadline(dispatched))
    by_id = door.desk.GetDispatch(ticket_id=dispatched).dispatch

    by_number = door.desk.GetDispatch(ticket_id=by_id.number).dispatch

    assert by_id == by_number
    assert (by_id.lead_unit, list(by_id.co_handler_units), by_id.epoch) == (INDUSTRY, [YUZHONG], 1)
    assert by_id.state == dispatch_pb2.DISPATCH_STATE_DISPATCHED
    assert by_id.method == dispatch_pb2.DISPATCH_METHOD_AUTO
    assert (by_id.class_code, by_id.class_probability, by_id.district_code) == ("power_supply", 0.93, "500103")
    assert by_id.text == "这周停电三次,生产线报废一批料"
    assert by_id.due_time == stamp(NOON + timedelta(days=3))
    decision = by_id.decision
    assert (decision.model_version, decision.district_source, decision.threshold) == ("20261101-abcdef01", "request", 0.5)
    assert decision.candidates[0].unit == INDUSTRY
    assert 0.5 <= decision.candidates[0].relevance <= 0.93
    assert "用电报装与供电保障" in decision.explanation_zh


@pytest.mark.parametrize("reference", ["a" * 500, "nul\x00inside"])
def test_what_can_be_no_reference_is_refused_by_its_field(door: Door, reference: str) -> None:
    answer = refusal(lambda: door.desk.GetDispatch(ticket_id=reference))

    assert (answer.code, answer.reason, answer.fields) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", ("ticket_id",))


@pytest.mark.parametrize("reference", ["", "no-such-ticket", "a" * 100])
def test_a_dispatch_that_is_not_there_is_not_found(door: Door, reference: str) -> None:
    answer = refusal(lambda: door.desk.GetDispatch(ticket_id=reference))

    assert (answer.code, answer.reason, answer.domain) == (grpc.StatusCode.NOT_FOUND, "DISPATCH_NOT_FOUND", "dispatcher.paidan")


def test_a_unit_takes_a_ticket_all_the_way(door: Door, dispatched: TicketId) -> None:
    client = door.unit(INDUSTRY)
    act = {"ticket_id": dispatched, "epoch": 1}

    states = [
        client.Accept(**act).dispatch.state,
        client.Accept(**act).dispatch.state,
        client.ReportProgress(**act, note="已联系供电公司").dispatch.state,
        client.RequestExtension(**act, workdays=2, reason="等设备").dispatch.state,
        client.RequestSupplement(**act, question="户号?").dispatch.state,
        client.Resolve(**act, resolution="已恢复供电", attachment_refs=["a.pdf"]).dispatch.state,
    ]

    assert [dispatch_pb2.DispatchState.Name(state).removeprefix("DISPATCH_STATE_") for state in states] == [
        "ACCEPTED",
        "ACCEPTED",
        "ACCEPTED",
        "ACCEPTED",
        "AWAITING_SUPPLEMENT",
        "RESOLVED",
    ]


def test_a_return_answers_with_where_the_ticket_went(door: Door, dispatched: TicketId) -> None:
    dispatch = (
        door.unit(INDUSTRY)
        .Return(ticket_id=dispatched, epoch=1, reason=dispatch_pb2.RETURN_REASON_NOT_OUR_COMPETENCE, suggested_unit=MARKET)
        .dispatch
    )

    assert (dispatch.lead_unit, dispatch.epoch, dispatch.bounce_count) == (MARKET, 2, 1)
    assert dispatch.method == dispatch_pb2.DISPATCH_METHOD_SUGGESTION
    assert "按其建议" in dispatch.decision.explanation_zh


def test_the_same_action_by_rpc_and_by_receipt_have_one_effect(door: Door, harness: Harness, dispatched: TicketId) -> None:
    door.unit(INDUSTRY).Accept(ticket_id=dispatched, epoch=1)
    harness.feed(accepting(INDUSTRY, dispatched))

    assert harness.kinds(dispatched) == ["TicketAccepted"]


def test_a_request_id_has_its_effect_once_by_rpc_and_by_receipt(door: Door, harness: Harness, dispatched: TicketId) -> None:
    unit, request_id = door.unit(INDUSTRY), f"by-rpc-{dispatched}"
    body = {"receiptId": request_id, "ticketId": dispatched, "epoch": 1, "reportProgress": {"note": "已联系"}}

    answers = [unit.ReportProgress(ticket_id=dispatched, epoch=1, note="已联系", request_id=request_id) for _ in range(2)]
    harness.feed(receipt(INDUSTRY, body))
    harness.feed(receipt(INDUSTRY, {**body, "reportProgress": {"note": "已到现场"}}))

    assert answers[0] == answers[1]
    assert harness.kinds(dispatched) == ["ProgressReported", f"{INDUSTRY}:refused"]


@pytest.mark.parametrize("refused_first", [True, False])
def test_other_content_under_a_request_id_is_refused_also_after_a_refusal(
    door: Door, harness: Harness, dispatched: TicketId, *, refused_first: bool
) -> None:
    unit, request_id = door.unit(INDUSTRY), f"reused-{dispatched}"
    if refused_first:
        assert refusal(lambda: unit.Accept(ticket_id=dispatched, epoch=2, request_id=request_id)).reason == "STALE_EPOCH"
    else:
        unit.Accept(ticket_id=dispatched, epoch=1, request_id=request_id)
    harness.sent(dispatched)

    answer = refusal(lambda: unit.ReportProgress(ticket_id=dispatched, epoch=1, note="已联系", request_id=request_id))

    assert (answer.code, answer.reason, answer.metadata) == (
        grpc.StatusCode.ALREADY_EXISTS,
        "REQUEST_ID_REUSED",
        {"request_id": request_id},
    )
    assert harness.sent(dispatched) == []


def test_a_request_that_was_refused_is_judged_again_when_it_is_repeated(door: Door, harness: Harness, dispatched: TicketId) -> None:
    unit, request_id = door.unit(INDUSTRY), f"early-{dispatched}"
    assert refusal(lambda: unit.Accept(ticket_id=dispatched, epoch=2, request_id=request_id)).reason == "STALE_EPOCH"
    harness.feed(resolving(INDUSTRY, dispatched), reopened(dispatched))

    answers = [unit.Accept(ticket_id=dispatched, epoch=2, request_id=request_id) for _ in range(2)]

    assert [answer.dispatch.epoch for answer in answers] == [2, 2]
    assert harness.kinds(dispatched).count("TicketAccepted") == 2


def test_sixteen_requests_under_one_id_at_once_have_one_effect(door: Door, harness: Harness, dispatched: TicketId) -> None:
    unit, request_id = door.unit(INDUSTRY), f"race-{dispatched}"

    def send(note: str) -> str:
        try:
            unit.ReportProgress(ticket_id=dispatched, epoch=1, note=note, request_id=request_id)
        except grpc.RpcError as error:
            return str(error.code().name)
        return "OK"

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(send, ["甲", "乙"] * 8))

    assert sorted(answers) == ["ALREADY_EXISTS"] * 8 + ["OK"] * 8
    assert harness.kinds(dispatched) == ["ProgressReported"]


@pytest.mark.parametrize("request_id", ["r" * 65, "r\x00", "r\n"])
def test_a_request_id_that_is_no_id_is_refused(door: Door, dispatched: TicketId, request_id: str) -> None:
    answer = refusal(lambda: door.unit(INDUSTRY).Accept(ticket_id=dispatched, epoch=1, request_id=request_id))

    assert (answer.reason, answer.fields) == ("INVALID_FIELD", ("request_id",))


def test_an_unknown_suggestion_is_refused_by_rpc(door: Door, dispatched: TicketId) -> None:
    unit, reason = door.unit(INDUSTRY), dispatch_pb2.RETURN_REASON_NOT_OUR_COMPETENCE

    answer = refusal(lambda: unit.Return(ticket_id=dispatched, epoch=1, reason=reason, suggested_unit="500199"))

    assert (answer.reason, answer.metadata, answer.fields) == ("UNKNOWN_UNIT", {"unit": "500199"}, ("suggested_unit",))


def test_refusals_say_why_in_words_and_in_data(door: Door, harness: Harness, dispatched: TicketId) -> None:
    helper, lead, desk = door.unit(YUZHONG), door.unit(INDUSTRY), door.desk

    not_lead = refusal(lambda: helper.Resolve(ticket_id=dispatched, epoch=1, resolution="好"))
    stale = refusal(lambda: lead.Accept(ticket_id=dispatched, epoch=5))
    nothing_pending = refusal(lambda: desk.DecideExtension(ticket_id=dispatched, granted=True))
    unknown_unit = refusal(lambda: desk.Transfer(ticket_id=dispatched, epoch=1, unit="500112", reason="撤区"))
    not_waiting = refusal(lambda: desk.DecideTriage(ticket_id=dispatched, assign=pb.TriageAssignment(unit=MARKET)))
    harness.feed(deadline(dispatched, due=NOON))
    lead.RequestExtension(ticket_id=dispatched, epoch=1, workdays=2, reason="等")
    past_due = refusal(lambda: desk.DecideExtension(ticket_id=dispatched, granted=True))

    assert (not_lead.code, not_lead.reason) == (grpc.StatusCode.PERMISSION_DENIED, "NOT_LEAD_UNIT")
    assert (stale.code, stale.reason, stale.metadata) == (grpc.StatusCode.FAILED_PRECONDITION, "STALE_EPOCH", {"active_epoch": "1"})
    assert nothing_pending.reason == "NO_PENDING_EXTENSION"
    assert (unknown_unit.reason, unknown_unit.metadata, unknown_unit.fields) == ("UNKNOWN_UNIT", {"unit": "500112"}, ("unit",))
    assert (not_waiting.reason, not_waiting.metadata) == ("STATE_CONFLICT", {"state": "DISPATCHED"})
    assert (past_due.reason, past_due.metadata) == ("PAST_DUE", {"due_time": NOON.isoformat()})


def test_every_field_at_fault_is_named_at_once(door: Door) -> None:
    unit, desk = door.unit(INDUSTRY), door.desk

    extension = refusal(lambda: unit.RequestExtension(ticket_id="", epoch=0, workdays=99, reason=""))
    decision = refusal(lambda: desk.DecideTriage(ticket_id="t-1"))
    reason = refusal(lambda: unit.Return(ticket_id="t-1", epoch=1))
    size = refusal(lambda: desk.ListTriage(page_size=-1))
    states = refusal(lambda: desk.ListDispatches(states=[0]))

    assert extension.fields == ("ticket_id", "epoch", "workdays", "reason")
    assert (decision.fields, reason.fields, size.fields, states.fields) == (("decision",), ("reason",), ("page_size",), ("states",))
    assert {each.reason for each in (extension, decision, reason, size, states)} == {"INVALID_FIELD"}


def test_the_desk_works_its_list_from_the_longest_wait(door: Door, harness: Harness) -> None:
    desk = door.desk
    tickets = [new_ticket() for _ in range(3)]
    for ticket_id in tickets:
        harness.clock.advance(timedelta(seconds=1))
        harness.feed(submitted(ticket_id), classified(ticket_id, ("power_supply", 0.4), abstained=classification_pb2.ABSTAIN_REASON_UNSURE))

    items = {each.ticket_id: each for each in all_triage(desk)}
    decided = desk.DecideTriage(
        ticket_id=tickets[0], assign=pb.TriageAssignment(unit=INDUSTRY, co_handler_units=[FINANCE], note="请办")
    ).dispatch
    declined = desk.DecideTriage(ticket_id=tickets[1], decline=pb.TriageDecline(reason="个人事务", right_channel="12345")).dispatch

    assert [ticket_id for ticket_id in items if ticket_id in tickets] == tickets
    item = items[tickets[0]]
    assert item.reason == dispatch_pb2.TRIAGE_REASON_UNSURE
    assert item.candidates[0].unit == INDUSTRY
    assert not item.held_by_duty_desk
    assert (decided.lead_unit, list(decided.co_handler_units), decided.class_code) == (INDUSTRY, [FINANCE], "power_supply")
    assert decided.decision.candidates[0].unit == INDUSTRY
    assert declined.state == dispatch_pb2.DISPATCH_STATE_DECLINED
    assert [each.ticket_id for each in all_triage(desk) if each.ticket_id in tickets] == tickets[2:]


def all_triage(desk: Client) -> list[dispatch_pb2.TriageItem]:
    items, token = [], ""
    while True:
        page = desk.ListTriage(page_size=2, page_token=token)
        items += page.items
        token = page.next_page_token
        if not token:
            return items


def test_what_the_duty_desk_holds_stays_on_the_list(door: Door, harness: Harness, ticket_id: TicketId) -> None:
    harness.feed(submitted(ticket_id), classified(ticket_id, ("other", 0.9)))
    harness.tick(timedelta(seconds=40))

    [item] = [each for each in all_triage(door.desk) if each.ticket_id == ticket_id]

    assert item.held_by_duty_desk
    assert item.fallback_time == stamp(NOON + timedelta(seconds=40))
    assert door.unit("dutydesk").GetDispatch(ticket_id=ticket_id).dispatch.method == dispatch_pb2.DISPATCH_METHOD_FALLBACK


def test_pages_follow_each_other_without_gap_or_repetition(door: Door, harness: Harness) -> None:
    unit = door.unit("sthjj")
    tickets = [new_ticket() for _ in range(5)]
    for ticket_id in tickets:
        harness.clock.advance(timedelta(seconds=1))
        harness.feed(submitted(ticket_id, text="环评", district=""), classified(ticket_id, ("eia_emission", 0.95)))

    pages, token = [], ""
    while True:
        page = unit.ListDispatches(page_size=2, page_token=token)
        pages.append([each.ticket_id for each in page.dispatches])
        token = page.next_page_token
        if not token:
            break

    assert pages == [tickets[:2:-1], tickets[2:0:-1], tickets[:1]]


def test_lists_are_narrowed_by_state(door: Door, harness: Harness) -> None:
    unit = door.unit("gaj")
    mine, done = new_ticket(), new_ticket()
    for ticket_id in (mine, done):
        harness.feed(submitted(ticket_id, text="诈骗", district=""), classified(ticket_id, ("public_security", 0.95)))
    unit.Resolve(ticket_id=done, epoch=1, resolution="已立案")

    def listed(*states: str) -> set[str]:
        wanted = [dispatch_pb2.DispatchState.Value(f"DISPATCH_STATE_{state}") for state in states]
        return {each.ticket_id for each in unit.ListDispatches(states=wanted, page_size=200).dispatches}

    assert listed("DISPATCHED", "ACCEPTED") == {mine}
    assert listed("RESOLVED") == {done}
    assert listed() == {mine, done}


@pytest.mark.parametrize("token", ["garbage", "bm8gdG9rZW4", "=="])
def test_a_token_that_no_list_gave_out_is_refused(door: Door, token: str) -> None:
    answer = refusal(lambda: door.desk.ListDispatches(page_token=token))

    assert (answer.code, answer.reason, answer.fields) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PAGE_TOKEN", ("page_token",))


def test_a_token_is_bound_to_its_list_its_filters_and_its_caller(door: Door, harness: Harness) -> None:
    for _ in range(2):
        harness.feed(submitted(each := new_ticket(), text="车贷", district=""), classified(each, ("freight_transport", 0.95)))
    token = door.unit("jtysw").ListDispatches(page_size=1).next_page_token

    assert token
    for call in (
        lambda: door.unit("jtysw").ListDispatches(page_size=1, page_token=token, unit="jtysw"),
        lambda: door.unit("czj").ListDispatches(page_size=1, page_token=token),
        lambda: door.desk.ListTriage(page_token=token),
    ):
        assert refusal(call).reason == "INVALID_PAGE_TOKEN"


def test_the_catalogue_is_read_as_of_a_day_by_any_role(door: Door) -> None:
    client = door.client(Role.PORTAL)

    now = client.GetCatalogue()
    before = client.GetCatalogue(as_of=stamp(NOON.replace(year=2025, month=11, day=1)))

    assert len(now.classes) == 42
    assert (len(now.units), len(before.units), len(now.districts)) == (60, 62, 41)
    yubei = next(each for each in now.districts if each.code == "500112")
    assert (yubei.valid_to, list(yubei.succeeded_by)) == ("2025-11-06", ["500171", "500109"])
    market = next(each for each in now.units if each.code == MARKET)
    assert (market.dispatch_topic, market.receipts_topic) == (f"dispatch.{MARKET}.v1", f"receipts.{MARKET}.v1")
    assert now.version == before.version


def test_the_answers_text_leaks_nothing_of_the_store(door: Door) -> None:
    answer = refusal(lambda: door.desk.GetDispatch(ticket_id=f"'; DROP TABLE dispatch; -- {uuid.uuid4()}"))

    assert answer.reason == "DISPATCH_NOT_FOUND"
