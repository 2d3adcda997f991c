"""How the server behaves when there is too much to do, when the store is away, and when it stops."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from services.intake.adapters import grpc as servicer
from services.intake.adapters import tables
from services.intake.bootstrap import build
from services.intake.domain.types import TicketId, TicketState
from tests.integration.intake.harness import PATIENCE_SECONDS, SERVICE, Store, a_request, open_door, refusal, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from paidan.intake.v1 import ticket_pb2
    from tests.integration.intake.harness import Client, Door

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Gate:
    """Holds calls of `GetTicket` inside the server until it is opened."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.inside = threading.Semaphore(0)

    def __call__(self, uow: Any, query: Any) -> Any:
        self.inside.release()
        assert self.opened.wait(PATIENCE_SECONDS)
        return _get_ticket(uow, query)

    def wait_for(self, calls: int) -> None:
        for _ in range(calls):
            assert self.inside.acquire(timeout=PATIENCE_SECONDS)


_get_ticket = servicer.get_ticket


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    held = Gate()
    monkeypatch.setattr(servicer, "get_ticket", held)
    yield held
    held.opened.set()


@pytest.mark.parametrize("service", ["", SERVICE])
@pytest.mark.parametrize("place", ["address", "health_address"])
def test_health_is_told_on_both_addresses_without_a_token(door: Door, place: str, service: str) -> None:
    with grpc.insecure_channel(getattr(door, place)) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE_SECONDS)

    assert answer.status == SERVING


def test_health_follows_the_progress_of_the_rest_of_the_process(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    with grpc.insecure_channel(door.health_address) as channel:
        health = health_pb2_grpc.HealthStub(channel)

        def state(service: str) -> int:
            return int(health.Check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE_SECONDS).status)

        monkeypatch.setattr(door.server, "_healthy", lambda: False)
        _eventually(lambda: state("") == NOT_SERVING and state(SERVICE) == NOT_SERVING)
        monkeypatch.undo()
        _eventually(lambda: state("") == SERVING and state(SERVICE) == SERVING)


def test_the_health_of_an_unknown_service_is_not_found(door: Door) -> None:
    stub = health_pb2_grpc.HealthStub(door.channel)

    answer = refusal(lambda: stub.Check(health_pb2.HealthCheckRequest(service="paidan.nothing"), timeout=PATIENCE_SECONDS))

    assert answer.code is grpc.StatusCode.NOT_FOUND


def test_a_stranger_can_submit_by_reflection_alone(door: Door) -> None:
    pool = DescriptorPool()
    stub = reflection_pb2_grpc.ServerReflectionStub(door.channel)

    def ask(request: reflection_pb2.ServerReflectionRequest) -> reflection_pb2.ServerReflectionResponse:
        return next(stub.ServerReflectionInfo(iter([request]), timeout=PATIENCE_SECONDS))

    def learn(file: bytes) -> None:
        described = FileDescriptorProto.FromString(file)
        for needed in described.dependency:
            found = ask(reflection_pb2.ServerReflectionRequest(file_by_filename=needed))
            learn(found.file_descriptor_response.file_descriptor_proto[0])
        pool.Add(described)

    listed = ask(reflection_pb2.ServerReflectionRequest(list_services="")).list_services_response.service
    found = ask(reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE))
    learn(found.file_descriptor_response.file_descriptor_proto[0])
    method = pool.FindServiceByName(SERVICE).FindMethodByName("SubmitTicket")
    request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    call = door.channel.unary_unary(f"/{SERVICE}/SubmitTicket", request.SerializeToString, response.FromString)
    answer = call(
        request.FromString(a_request(text="照着反射写的").SerializeToString()),
        metadata=door.portal().metadata,
        timeout=PATIENCE_SECONDS,
    )

    assert {SERVICE, "grpc.health.v1.Health"} <= {each.name for each in listed}
    assert answer.ticket.text == "照着反射写的"


def test_a_method_that_is_none_is_unimplemented(door: Door) -> None:
    call = door.channel.unary_unary(f"/{SERVICE}/DropTables", request_serializer=bytes, response_deserializer=bytes)

    answer = refusal(lambda: call(b"", timeout=PATIENCE_SECONDS))

    assert answer.code is grpc.StatusCode.UNIMPLEMENTED


def test_bytes_that_are_no_request_break_that_call_alone(door: Door, portal: Client) -> None:
    call = door.channel.unary_unary(f"/{SERVICE}/SubmitTicket", request_serializer=bytes, response_deserializer=bytes)

    answer = refusal(lambda: call(b"\xff\xff\xff", metadata=portal.metadata, timeout=PATIENCE_SECONDS))

    assert (answer.code, answer.reason, answer.domain) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST", "paidan")
    assert portal.submit().version == 1


def test_when_too_many_calls_are_in_hand_one_more_is_refused_and_told_when_to_come_back(store: Store, gate: Gate) -> None:
    with open_door(store, grpc_max_in_flight=2, grpc_threads=4) as door, ThreadPoolExecutor(2) as pool:
        portal = door.portal()
        ticket = portal.submit()
        held = [pool.submit(portal.GetTicket, ticket_id=ticket.ticket_id) for _ in range(2)]
        gate.wait_for(2)

        answer = refusal(lambda: portal.submit())
        healthy = health_pb2_grpc.HealthStub(door.channel).Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_SECONDS)
        watching = next(portal.watch(ticket.ticket_id)).change.version
        gate.opened.set()
        answers = [future.result(PATIENCE_SECONDS).ticket for future in held]

        assert answer.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (answer.reason, answer.domain, answer.retry_seconds) == ("OVERLOADED", "paidan", 1.0)
        assert healthy.status == SERVING
        assert watching == 1
        assert answers == [ticket, ticket]
        assert portal.submit().version == 1


def test_a_call_whose_deadline_passes_gives_its_place_back(store: Store, gate: Gate) -> None:
    with open_door(store, grpc_max_in_flight=1, grpc_threads=2) as door:
        portal = door.portal()
        ticket = portal.submit()

        answer = refusal(lambda: portal.GetTicket(ticket_id=ticket.ticket_id, timeout=0.3))
        gate.opened.set()
        _eventually(lambda: door.count("paidan_grpc_server_handled_total", method="GetTicket", code="UNAVAILABLE") == 1)

        assert (answer.code, answer.retry_seconds) == (grpc.StatusCode.UNAVAILABLE, 1)
        assert portal.GetTicket(ticket_id=ticket.ticket_id).ticket == ticket
        assert door.count("paidan_grpc_server_handled_total", method="GetTicket", code="OK") == 1


def test_a_call_that_waits_for_a_thread_past_its_deadline_is_never_carried_out(store: Store, gate: Gate) -> None:
    with open_door(store, grpc_threads=1) as door, ThreadPoolExecutor(1) as pool:
        portal = door.portal()
        ticket = portal.submit()
        held = pool.submit(portal.GetTicket, ticket_id=ticket.ticket_id)
        gate.wait_for(1)

        answer = refusal(lambda: portal.WithdrawTicket(ticket_id=ticket.ticket_id, timeout=0.3))
        _eventually(lambda: door.count("paidan_grpc_server_handled_total", method="WithdrawTicket", code="UNAVAILABLE") == 1)
        gate.opened.set()
        held.result(PATIENCE_SECONDS)

        assert (answer.code, answer.retry_seconds) == (grpc.StatusCode.UNAVAILABLE, 1)
        assert portal.GetTicket(ticket_id=ticket.ticket_id).ticket == ticket


def test_while_the_database_is_away_calls_are_refused_and_told_when_to_come_back(own_store: Store) -> None:
    store = own_store
    with open_door(store) as door:
        portal, unit = door.portal(), door.unit()
        ticket = portal.submit()
        store.bring(ticket.ticket_id, TicketState.ACCEPTED)
        unit.GetContact(ticket_id=ticket.ticket_id)
        request = a_request()

        with _database_away(store):
            answers = [
                refusal(lambda: portal.SubmitTicket(request)),
                refusal(lambda: portal.GetTicket(ticket_id=ticket.ticket_id)),
                refusal(lambda: portal.ListTickets()),
                refusal(lambda: next(portal.watch(ticket.ticket_id))),
                refusal(lambda: portal.WithdrawTicket(ticket_id=ticket.ticket_id)),
                refusal(lambda: unit.GetContact(ticket_id=ticket.ticket_id)),
            ]
        after = portal.SubmitTicket(request)

        assert {(answer.code, answer.reason, answer.domain, answer.retry_seconds) for answer in answers} == {
            (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE", "paidan", 1.0),
        }
        assert not any("psycopg" in answer.message or "connection" in answer.message for answer in answers)
        assert not after.duplicate


def test_an_open_watch_outlives_an_absence_of_the_database(own_store: Store) -> None:
    store = own_store
    with open_door(store) as door:
        portal = door.portal()
        ticket = portal.submit()
        watch = portal.watch(ticket.ticket_id)
        next(watch)

        with _database_away(store):
            time.sleep(0.3)
        _eventually(lambda: _is_up(portal, ticket))
        portal.WithdrawTicket(ticket_id=ticket.ticket_id)

        assert [message.change.kind for message in watch] == ["withdrawn"]


def test_while_its_token_cannot_be_checked_a_watch_stays_open_for_a_time_and_then_is_told_to_resume(own_store: Store) -> None:
    store = own_store
    with open_door(store, token_cache_lifetime=timedelta(milliseconds=200)) as door:
        portal = door.portal()
        ticket = portal.submit()
        watch = portal.watch(ticket.ticket_id)
        next(watch)
        door.server._gate._tokens._believed = 3.0

        with _database_away(store):
            time.sleep(1.5)
        _eventually(lambda: _is_up(portal, ticket))
        store.bring(ticket.ticket_id, TicketState.ACCEPTED)
        kept = next(watch).change.version
        time.sleep(1.3)  # the next check comes within 1 s
        with _database_away(store):
            begun = time.monotonic()
            answer = refusal(lambda: list(watch))
            took = time.monotonic() - begun

        assert kept == 2
        assert (answer.code, answer.reason, answer.retry_seconds) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE", 1.0)
        assert 2 < took < 6


def test_a_fault_of_ours_is_answered_with_a_trace_id_and_nothing_of_the_fault(
    door: Door, portal: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_uow: object, _query: object) -> None:
        raise ZeroDivisionError("王小明 023-67890000")

    monkeypatch.setattr(servicer, "get_ticket", fail)
    call = door.channel.unary_unary(f"/{SERVICE}/GetTicket", lambda request: request.SerializeToString(), bytes)
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    metadata = [*portal.metadata, ("traceparent", f"00-{trace_id}-b7ad6b7169203331-01")]

    answer = refusal(lambda: call(servicer.pb.GetTicketRequest(ticket_id="x"), metadata=metadata, timeout=PATIENCE_SECONDS))

    assert (answer.code, answer.reason, answer.domain) == (grpc.StatusCode.INTERNAL, "INTERNAL", "paidan")
    assert answer.metadata == {"trace_id": trace_id}
    assert "王小明" not in answer.message
    assert "ZeroDivision" not in answer.message


def test_the_trace_of_the_caller_goes_on_in_the_events(door: Door, portal: Client, store: Store) -> None:
    trace_id = "1af7651916cd43dd8448eb211c80319c"
    call = door.channel.unary_unary(
        f"/{SERVICE}/SubmitTicket", servicer.pb.SubmitTicketRequest.SerializeToString, servicer.pb.SubmitTicketResponse.FromString
    )

    answer = call(
        a_request(),
        metadata=[*portal.metadata, ("traceparent", f"00-{trace_id}-b7ad6b7169203331-01")],
        timeout=PATIENCE_SECONDS,
    )

    with store.admin.connect() as conn:
        headers = conn.execute(tables.outbox.select().where(tables.outbox.c.aggregateid == answer.ticket.ticket_id)).one().headers
    assert dict(headers)["traceparent"].split("-")[1] == trace_id


def test_calls_are_counted_by_method_and_code(store: Store) -> None:
    with open_door(store) as door:
        portal = door.portal()
        portal.submit()
        portal.submit()
        refusal(lambda: portal.submit(text=""))

        def counted(code: str) -> float:
            return door.count("paidan_grpc_server_handled_total", method="SubmitTicket", code=code)

        _eventually(lambda: (counted("OK"), counted("INVALID_ARGUMENT"), counted("INTERNAL")) == (2, 1, 0))
        assert door.count("paidan_grpc_server_handling_seconds_count", method="SubmitTicket") == 3
        assert door.count("paidan_intake_tickets_submitted_total", portal=portal.caller.subject, channel="APP") == 2


def test_on_stop_health_turns_first_then_calls_in_hand_end_and_streams_are_told_to_resume(store: Store, gate: Gate) -> None:
    with open_door(store) as door, ThreadPoolExecutor(2) as pool:
        door.server._drain_notice = timedelta(seconds=1)
        door.server._drain_grace = timedelta(seconds=3)
        portal = door.portal()
        ticket = portal.submit()
        watch = portal.watch(ticket.ticket_id)
        next(watch)
        held = pool.submit(portal.GetTicket, ticket_id=ticket.ticket_id)
        gate.wait_for(1)
        with grpc.insecure_channel(door.health_address) as channel:
            health = health_pb2_grpc.HealthStub(channel)

            door.stop.set()
            _eventually(lambda: health.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_SECONDS).status == NOT_SERVING)
            late = portal.submit()
            gate.opened.set()
            finished = held.result(PATIENCE_SECONDS).ticket
            cut = refusal(lambda: list(watch))
        door.thread.join(PATIENCE_SECONDS)

        assert late.version == 1
        assert finished == ticket
        assert (cut.code, cut.reason, cut.domain, cut.retry_seconds) == (grpc.StatusCode.UNAVAILABLE, "STOPPING", "paidan", 1.0)
        assert not door.thread.is_alive()
        assert TicketId(ticket.ticket_id) not in door.hub._watchers


def test_a_call_that_outlasts_the_grace_of_a_stop_is_told_to_repeat(store: Store, gate: Gate) -> None:
    with open_door(store) as door, ThreadPoolExecutor(1) as pool:
        portal = door.portal()
        ticket = portal.submit()
        held = pool.submit(lambda: refusal(lambda: portal.GetTicket(ticket_id=ticket.ticket_id)))
        gate.wait_for(1)

        door.stop.set()
        answer = held.result(PATIENCE_SECONDS)
        gate.opened.set()
        door.server._gate._pool.shutdown(wait=True)

        assert (answer.code, answer.reason, answer.retry_seconds) == (grpc.StatusCode.UNAVAILABLE, "STOPPING", 1.0)


def test_an_address_that_is_taken_is_told_in_one_line(door: Door, store: Store) -> None:
    server, *_ = build(settings(store.url, grpc_address=door.address))

    with pytest.raises(OSError, match=f"cannot listen on {door.address}"):
        server.run(threading.Event())
    server._gate._authenticator._engine.dispose()


def _is_up(portal: Client, ticket: ticket_pb2.Ticket) -> bool:
    try:
        return bool(portal.GetTicket(ticket_id=ticket.ticket_id).ticket == ticket)
    except grpc.RpcError:
        return False


@contextmanager
def _database_away(store: Store) -> Iterator[None]:
    """Shut the database to everybody and throw out who is in."""
    store.close()
    with _next_door(store) as conn:
        conn.execute(text(f"ALTER DATABASE {store.admin.url.database} ALLOW_CONNECTIONS false"))
        conn.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"), {"name": store.admin.url.database}
        )
    try:
        yield
    finally:
        with _next_door(store) as conn:
            conn.execute(text(f"ALTER DATABASE {store.admin.url.database} ALLOW_CONNECTIONS true"))


def _next_door(store: Store) -> Connection:
    url = store.admin.url.set(database="postgres")
    return create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool).connect()


def _eventually(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < end, "did not come true in time"
        time.sleep(0.02)
