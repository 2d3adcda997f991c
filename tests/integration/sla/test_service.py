"""The service as a process, between a real Kafka and a real PostgreSQL."""

from __future__ import annotations

import json
import time
import urllib.request
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from kafka import KafkaConsumer, TopicPartition
from sqlalchemy import create_engine

from chassis.caller import Caller, Role
from chassis.identity.tokens import issue
from chassis.instant import to_timestamp
from chassis.message import proto_message
from chassis.producer import Producer
from deploy.local.stack import LocalService, open_stack
from paidan.sla.v1 import deadline_pb2
from paidan.sla.v1 import events_pb2 as sla
from paidan.sla.v1 import sla_service_pb2 as pb
from paidan.sla.v1.sla_service_pb2_grpc import SlaServiceStub
from services.sla.adapters.events import DISPATCHER_TOPIC, INTAKE_TOPIC, TOPIC
from tests.unit.sla.builders import NOTICES, shanghai
from tests.unit.sla.messages import dispatched, submitted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from google.protobuf.message import Message

    from deploy.local.stack import LocalStack

WITHIN = timedelta(seconds=8)
"""Long enough for a machine that is busy with other things to send a message in time."""
NEXT_YEAR = {"2027": {"off": [["2027-01-01", "2027-01-03"]], "make_up_workdays": ["2027-01-09"]}}


class Surroundings:
    """What stands around the service: its topics and its callers."""

    def __init__(self, stack: LocalStack, notices: Path) -> None:
        self.stack = stack
        self.notices = notices
        self.service = LocalService("sla", parts=stack.parts, log_dir=stack.log_dir)
        self._bootstrap = stack.parts.kafka_bootstrap
        self._producer = Producer({"bootstrap_servers": self._bootstrap}, client_id="test")
        self._consumer = KafkaConsumer(bootstrap_servers=self._bootstrap, enable_auto_commit=False)
        self._consumer.assign([TopicPartition(TOPIC, number) for number in self._consumer.partitions_for_topic(TOPIC)])
        for partition, end in self._consumer.end_offsets(self._consumer.assignment()).items():
            self._consumer.seek(partition, end)
        self._told: dict[str, list[Any]] = {}
        self._seen: set[str] = set()

    def start(self) -> None:
        self.service.start(
            {
                "PAIDAN_SLA_DISPATCH_WITHIN": f"PT{WITHIN.total_seconds()}S",
                "PAIDAN_SLA_DISPATCH_AT_RISK_AFTER": "PT1S",
                "PAIDAN_SLA_DISPATCH_GRACE": "PT0.5S",
                "PAIDAN_SLA_RECOVERY_GRACE": "PT0S",
                "PAIDAN_SLA_TICK_INTERVAL": "PT0.1S",
                "PAIDAN_SLA_TALLY_INTERVAL": "PT0.2S",
                "PAIDAN_SLA_NOTICES": str(self.notices),
                "PAIDAN_SLA_NOTICES_INTERVAL": "PT0.2S",
            },
        )
        self.service.wait_ready()

    def close(self) -> None:
        self.service.stop()
        self._producer.close()
        self._consumer.close()

    def tell(self, topic: str, payload: Message) -> None:
        ticket_id: str = payload.ticket_id  # type: ignore[attr-defined]  # every message here has one
        message = proto_message(topic, ticket_id, payload, time=datetime.now(UTC))
        [error] = self._producer.send([(message.topic, message.key, message.data, message.headers("/paidan/test"))])
        assert error is None

    def told(self, ticket_id: str, *until: str, within: float = 60) -> list[str]:
        """Return the changes announced of a ticket once all those named `until` are among them."""
        deadline = time.monotonic() + within
        while not {*until} <= {*(names := [name for name, _ in self._told.get(ticket_id, [])])}:
            assert time.monotonic() < deadline, f"not all of {until} among {names}"
            self._poll()
        return names

    def event(self, ticket_id: str, name: str) -> Any:
        return next(event for told, event in self._told[ticket_id] if told == name)

    def settle_down(self) -> None:
        """Take in what is still announced within a second."""
        end = time.monotonic() + 1
        while time.monotonic() < end:
            self._poll()

    def _poll(self) -> None:
        for records in self._consumer.poll(timeout_ms=100).values():
            for record in records:
                headers = {name: value.decode() for name, value in record.headers}
                if headers["ce_id"] in self._seen:
                    continue  # Sent again after a kill between sending and marking; every reader drops it by its id.
                self._seen.add(headers["ce_id"])
                change = headers["ce_type"].rpartition(".")[2]
                event = getattr(sla, change).FromString(record.value)
                kind = deadline_pb2.DeadlineKind.Name(event.deadline.kind).removeprefix("DEADLINE_KIND_")
                self._told.setdefault(record.key.decode(), []).append((f"{kind} {change.removeprefix('Deadline')}", event))

    def call(self, method: str, request: Message, caller: Caller) -> Any:
        engine = create_engine(self.stack.parts.database_url)
        with engine.begin() as conn:
            token = issue(conn, caller).token
        engine.dispose()
        with grpc.insecure_channel(self.service.address) as channel:
            stub = SlaServiceStub(channel)
            return getattr(stub, method)(request, metadata=[("authorization", f"Bearer {token}")], timeout=10)

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://{self.service.metrics_address}/metrics", timeout=5) as answer:
            text: str = answer.read().decode()
        return text


def new_ticket() -> str:
    return f"t-{uuid.uuid4()}"


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surroundings]:
    directory = tmp_path_factory.mktemp("sla")
    notices = directory / "notices.json"
    notices.write_text(NOTICES.read_text("utf-8"), "utf-8")
    with open_stack(directory, on_progress=lambda _line: None, services=[]) as stack:
        around = Surroundings(stack, notices)
        try:
            around.start()
            # Everybody has connected before a test counts seconds.
            first = new_ticket()
            around.tell(INTAKE_TOPIC, submitted(first, datetime.now(UTC)))
            around.told(first, "RESOLUTION Set")
            yield around
        finally:
            around.close()


def test_a_dispatch_in_time_is_announced_as_met(surroundings: Surroundings) -> None:
    ticket, start = new_ticket(), datetime.now(UTC)

    surroundings.tell(INTAKE_TOPIC, submitted(ticket, start))
    surroundings.tell(DISPATCHER_TOPIC, dispatched(ticket, start))
    names = surroundings.told(ticket, "DISPATCH Met", "RESOLUTION Set")

    assert sorted(names) == ["DISPATCH Met", "DISPATCH Set", "RESOLUTION Set"]
    assert names.index("DISPATCH Set") < names.index("DISPATCH Met")
    assert surroundings.event(ticket, "DISPATCH Met").deadline.unit == "zfcxjw"


def test_a_dispatch_that_does_not_come_is_announced_at_risk_then_breached_once(surroundings: Surroundings) -> None:
    ticket, start = new_ticket(), datetime.now(UTC)

    surroundings.tell(INTAKE_TOPIC, submitted(ticket, start))
    surroundings.told(ticket, "DISPATCH Breached")
    surroundings.settle_down()

    assert surroundings.told(ticket, "DISPATCH Breached")[2:] == ["DISPATCH AtRisk", "DISPATCH Breached"]
    assert surroundings.event(ticket, "DISPATCH Breached").deadline.breach_time == to_timestamp(start + WITHIN)


def test_a_dispatch_that_was_in_time_is_met_though_the_service_was_dead_meanwhile(surroundings: Surroundings) -> None:
    ticket, start = new_ticket(), datetime.now(UTC)
    surroundings.tell(INTAKE_TOPIC, submitted(ticket, start))
    surroundings.told(ticket, "RESOLUTION Set")

    surroundings.service.process.kill()
    surroundings.tell(DISPATCHER_TOPIC, dispatched(ticket, start))
    while datetime.now(UTC) < start + WITHIN + timedelta(seconds=1):
        time.sleep(0.1)
    surroundings.start()
    surroundings.told(ticket, "DISPATCH Met")
    surroundings.settle_down()

    assert surroundings.told(ticket, "DISPATCH Met") == ["DISPATCH Set", "RESOLUTION Set", "DISPATCH Met"]


def test_a_ticket_beyond_the_calendar_is_set_when_its_notice_comes(surroundings: Surroundings) -> None:
    ticket, start = new_ticket(), shanghai("2026-12-29T10:00")
    desk = Caller(Role.DESK, "desk-1")
    surroundings.tell(INTAKE_TOPIC, submitted(ticket, start))
    surroundings.tell(DISPATCHER_TOPIC, dispatched(ticket, start))
    surroundings.told(ticket, "DISPATCH Set")

    waiting = surroundings.call("GetDeadlines", pb.GetDeadlinesRequest(ticket_id=ticket), desk).deadlines[1]
    surroundings.notices.write_text(json.dumps(json.loads(NOTICES.read_text("utf-8")) | NEXT_YEAR), "utf-8")
    surroundings.told(ticket, "RESOLUTION Set")

    assert waiting.state == deadline_pb2.DEADLINE_STATE_PENDING_CALENDAR
    assert not waiting.HasField("due_time")
    assert surroundings.event(ticket, "RESOLUTION Set").deadline.due_time == to_timestamp(shanghai("2027-01-05T00:00"))


def test_callers_are_narrowed_to_their_own_tickets(surroundings: Surroundings) -> None:
    ticket, start = new_ticket(), datetime.now(UTC)
    surroundings.tell(INTAKE_TOPIC, submitted(ticket, start, portal="portal-a"))
    surroundings.tell(DISPATCHER_TOPIC, dispatched(ticket, start))
    surroundings.told(ticket, "DISPATCH Met")
    request = pb.GetDeadlinesRequest(ticket_id=ticket)

    own = surroundings.call("GetDeadlines", request, Caller(Role.PORTAL, "portal-a"))
    leading = surroundings.call("GetDeadlines", request, Caller(Role.UNIT, "zfcxjw"))
    with pytest.raises(grpc.RpcError) as others:
        surroundings.call("GetDeadlines", request, Caller(Role.PORTAL, "portal-b"))
    with pytest.raises(grpc.RpcError) as portal_lists:
        surroundings.call("ListDue", pb.ListDueRequest(), Caller(Role.PORTAL, "portal-a"))

    assert len(own.deadlines) == len(leading.deadlines) == 2
    assert others.value.code() is grpc.StatusCode.NOT_FOUND
    assert portal_lists.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_a_due_time_beyond_the_calendar_is_refused_with_its_year(surroundings: Surroundings) -> None:
    request = pb.ComputeDeadlineRequest(start_time=to_timestamp(shanghai("2029-06-01T10:00")))

    with pytest.raises(grpc.RpcError) as refused:
        surroundings.call("ComputeDeadline", request, Caller(Role.PORTAL, "portal-a"))

    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "2029" in (refused.value.details() or "")


def test_a_poisoned_message_does_not_hold_up_the_others(surroundings: Surroundings) -> None:
    ticket, start = new_ticket(), datetime.now(UTC)

    surroundings.tell(INTAKE_TOPIC, submitted(ticket, start))
    surroundings.tell(DISPATCHER_TOPIC, dispatched(ticket, start, epoch=0))
    surroundings.tell(DISPATCHER_TOPIC, dispatched(ticket, start))

    assert surroundings.told(ticket, "DISPATCH Met").count("DISPATCH Met") == 1


def test_the_gauges_tell_what_is_open(surroundings: Surroundings) -> None:
    ticket, start = new_ticket(), datetime.now(UTC)
    surroundings.tell(INTAKE_TOPIC, submitted(ticket, start))
    surroundings.tell(DISPATCHER_TOPIC, dispatched(ticket, start))
    surroundings.told(ticket, "DISPATCH Met")
    surroundings.settle_down()

    lines = surroundings.metrics().splitlines()

    [running] = [line for line in lines if line.startswith('paidan_sla_open_deadlines{kind="resolution",state="running"}')]
    [lag] = [line for line in lines if line.startswith("paidan_sla_known_until_lag_seconds ")]
    assert float(running.split()[-1]) >= 1
    assert float(lag.split()[-1]) < 5
