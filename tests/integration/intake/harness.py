"""An intake server in this process, its callers, and the answers that they get."""

from __future__ import annotations

import itertools
import threading
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from sqlalchemy import create_engine

from chassis.caller import Caller, Role
from chassis.grpc import GrpcServer
from chassis.identity.tokens import issue
from chassis.outbox import Outbox
from chassis.settings import KafkaSettings
from chassis.sql import build_engine
from deploy.local.ports import free_port
from paidan.intake.v1 import intake_service_pb2 as pb
from paidan.intake.v1 import ticket_pb2
from paidan.intake.v1.intake_service_pb2_grpc import IntakeServiceStub
from services.intake.adapters import sql, tables
from services.intake.adapters.events import SOURCE
from services.intake.adapters.watch import WatchHub
from services.intake.application.follow_dispatch import Accepted, Dispatched, Fact, Resolved, SupplementRequested, Told, follow_dispatch
from services.intake.bootstrap import build
from services.intake.domain.types import TicketId, TicketState, UnitCode
from services.intake.settings import IntakeSettings
from tests.unit.intake.builders import HELPER, LEAD, VALID_USCC, act, dispatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from google.protobuf.message import Message
    from sqlalchemy import Engine

PATIENCE_SECONDS = 20
SERVICE = "paidan.intake.v1.IntakeService"

_names = itertools.count(1)


@dataclass(frozen=True)
class Answer:
    """A refusal as a client reads it."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    domain: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: Mapping[str, str] = field(default_factory=dict)
    retry_seconds: float | None = None


def read_answer(error: grpc.RpcError) -> Answer:
    found: dict[str, Any] = {"code": error.code(), "message": error.details() or ""}
    status = rpc_status.from_call(error)
    for packed in status.details if status is not None else ():
        if packed.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            packed.Unpack(info)
            found |= {"reason": info.reason, "domain": info.domain, "metadata": dict(info.metadata)}
        elif packed.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest()
            packed.Unpack(bad)
            found["violations"] = {each.field: each.description for each in bad.field_violations}
        elif packed.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo()
            packed.Unpack(retry)
            found["retry_seconds"] = retry.retry_delay.ToTimedelta().total_seconds()
    return Answer(**found)


def refusal(call: Callable[[], object]) -> Answer:
    """Make a call that must be refused; return the refusal."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return read_answer(caught.value)


class Client:
    """One caller of the door: `client.GetTicket(ticket_id=…)`."""

    def __init__(self, channel: grpc.Channel, token: str | None, caller: Caller | None = None) -> None:
        self.caller = caller
        self.token = token
        self._stub = IntakeServiceStub(channel)

    @property
    def metadata(self) -> list[tuple[str, str]]:
        return [] if self.token is None else [("authorization", f"Bearer {self.token}")]

    def __getattr__(self, method: str) -> Callable[..., Any]:
        stub_method = getattr(self._stub, method)
        request_type = getattr(pb, f"{method}Request")

        def call(request: Message | None = None, /, *, timeout: float = PATIENCE_SECONDS, **fields: Any) -> Any:
            return stub_method(request or request_type(**fields), metadata=self.metadata, timeout=timeout)

        return call

    def submit(self, **changed: Any) -> ticket_pb2.Ticket:
        ticket: ticket_pb2.Ticket = self.SubmitTicket(a_request(**changed)).ticket
        return ticket

    def watch(self, ticket_id: str, after: int = 0, *, timeout: float = PATIENCE_SECONDS) -> Any:
        """Return the open call: an iterator of messages that can be cancelled."""
        return self.WatchTicket(ticket_id=ticket_id, after_version=after, timeout=timeout)


def a_request(**changed: Any) -> pb.SubmitTicketRequest:
    """Return a good request; its request id is its own unless one is given."""
    return pb.SubmitTicketRequest(
        **{
            "request_id": f"r-{uuid.uuid4()}",
            "enterprise": ticket_pb2.Enterprise(uscc=VALID_USCC, name="重庆某某科技有限公司"),
            "contact": ticket_pb2.Contact(name="王小明", phone="023-67890000"),
            "text": "营业执照变更迟迟没有结果",
            "channel": ticket_pb2.CHANNEL_APP,
            "district_code": "500107",
            **changed,
        },
    )


class Store:
    """The database behind the door, for what no portal can do: issue tokens, and act as the dispatcher."""

    def __init__(self, database_url: str) -> None:
        self.url = database_url
        self.admin: Engine = create_engine(database_url)
        self.engine: Engine = build_engine(database_url, service="intake", pool_size=8)
        self.outbox = Outbox(tables.outbox, source=SOURCE)

    def close(self) -> None:
        self.admin.dispose()
        self.engine.dispose()

    def token(self, role: Role, subject: str) -> str:
        with self.admin.begin() as conn:
            return issue(conn, Caller(role, subject)).token

    def open(self) -> sql.IntakeUnitOfWork:
        return sql.IntakeUnitOfWork(self.engine, self.outbox)

    def follow(self, *facts: Fact) -> None:
        """Apply what the dispatcher tells, as another replica's consumer would: this process's hub hears nothing of it."""
        with self.open() as uow:
            for fact in facts:
                follow_dispatch(uow, fact)
            uow.commit()

    def bring(self, ticket_id: str, state: TicketState, *, at: datetime | None = None) -> None:
        """Bring a fresh ticket to a state that the dispatcher leads to, under lead `LEAD` and helper `HELPER`."""
        known, when = TicketId(ticket_id), at or datetime.now(UTC)
        facts: list[Fact] = [Dispatched(known, dispatch(helpers=(HELPER,), at=when))]
        match state:
            case TicketState.ACCEPTED:
                facts.append(Accepted(known, act(at=when)))
            case TicketState.AWAITING_SUPPLEMENT:
                facts.append(SupplementRequested(known, act(note="请补充合同", at=when)))
            case TicketState.RESOLVED:
                facts.append(Resolved(known, act(note="已办结", at=when)))
            case _:
                assert state is TicketState.DISPATCHED
        self.follow(*facts)

    def progress(self, ticket_id: str, *notes: str) -> None:
        """Let the lead unit tell its progress, one change a note."""
        self.follow(*(Told(TicketId(ticket_id), "progress", act(note=note)) for note in notes))


@dataclass
class Door:
    """A server that runs."""

    server: GrpcServer
    hub: WatchHub
    channel: grpc.Channel
    address: str
    health_address: str
    store: Store
    stop: threading.Event
    thread: threading.Thread

    def client(self, role: Role, subject: str | None = None) -> Client:
        caller = Caller(role, subject or f"{role.value}-{next(_names)}-{uuid.uuid4().hex[:6]}")
        return Client(self.channel, self.store.token(role, caller.subject), caller)

    def portal(self) -> Client:
        return self.client(Role.PORTAL)

    def unit(self, code: UnitCode = LEAD) -> Client:
        return self.client(Role.UNIT, code)

    def count(self, name: str, **labels: str) -> float:
        """Return a sample of this server's metrics; 0 if there is none yet."""
        return self.server._gate._metrics.registry.get_sample_value(name, labels) or 0.0


def settings(database_url: str, **changed: Any) -> IntakeSettings:
    return IntakeSettings(
        **{
            "database_url": database_url,
            "kafka": KafkaSettings(bootstrap="127.0.0.1:1"),
            "grpc_address": f"127.0.0.1:{free_port()}",
            "health_address": f"127.0.0.1:{free_port()}",
            "metrics_address": f"127.0.0.1:{free_port()}",
            "database_pool_size": 8,
            "watch_interval": timedelta(milliseconds=50),
            **changed,
        },
    )


@contextmanager
def open_door(store: Store, *, options: Sequence[tuple[str, int]] = (), **changed: Any) -> Iterator[Door]:
    """Serve intake's own wiring, without Kafka: the door and the hub, as `bootstrap` built them."""
    chosen = settings(**{"database_url": store.url, **changed})
    server, group, hub, *_ = build(chosen)
    assert isinstance(server, GrpcServer)
    assert isinstance(hub, WatchHub)
    server._drain_notice = timedelta(0)
    server._drain_grace = timedelta(milliseconds=200)
    stop = threading.Event()
    threads = [threading.Thread(target=each.run, args=(stop,), name=each.name) for each in (server, group, hub)]
    for thread in threads:
        thread.start()
    channel = grpc.insecure_channel(chosen.grpc_address, options=list(options))
    try:
        grpc.channel_ready_future(channel).result(timeout=PATIENCE_SECONDS)
        yield Door(server, hub, channel, chosen.grpc_address, chosen.health_address, store, stop, threads[0])
    finally:
        channel.close()
        stop.set()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
        assert not any(thread.is_alive() for thread in threads)
        server._gate._authenticator._engine.dispose()
