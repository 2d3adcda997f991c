"""The RPCs of all four services on real sockets: requests are bounded, and refusals are small. There is no database behind them."""

from __future__ import annotations

import logging
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from prometheus_client import CollectorRegistry

from chassis.caller import Caller, Role
from chassis.clock import SystemClock
from chassis.gate import Service
from chassis.grpc import GrpcServer
from chassis.metrics import ChassisMetrics
from chassis.request_limits import read_requests
from deploy.local.ports import free_port
from paidan.classifier.v1.classifier_service_pb2_grpc import add_ClassifierServiceServicer_to_server
from paidan.dispatcher.v1.dispatcher_service_pb2_grpc import add_DispatcherServiceServicer_to_server
from paidan.intake.v1.intake_service_pb2_grpc import add_IntakeServiceServicer_to_server
from paidan.sla.v1.sla_service_pb2_grpc import add_SlaServiceServicer_to_server
from services.classifier.adapters import access as classifier_access
from services.classifier.adapters import errors as classifier_errors
from services.classifier.adapters import grpc as classifier
from services.classifier.adapters import limits as classifier_limits
from services.classifier.telemetry import ClassifierMetrics
from services.dispatcher.adapters import access as dispatcher_access
from services.dispatcher.adapters import errors as dispatcher_errors
from services.dispatcher.adapters import grpc as dispatcher
from services.dispatcher.adapters import limits as dispatcher_limits
from services.intake.adapters import access as intake_access
from services.intake.adapters import errors as intake_errors
from services.intake.adapters import grpc as intake
from services.intake.adapters import limits as intake_limits
from services.sla.adapters import access as sla_access
from services.sla.adapters import errors as sla_errors
from services.sla.adapters import grpc as sla
from services.sla.adapters import limits as sla_limits
from tests.support.contracts import METHODS, SERVICES, Place, is_enum, is_list, is_string, is_timestamp, places, wire_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from google.protobuf.descriptor import MethodDescriptor
    from google.protobuf.message import Message

NOTHING: Any = None
PARTS: Mapping[str, tuple[Any, Any, Any, Any, Any]] = {
    "intake": (
        intake.IntakeServicer(NOTHING, NOTHING, NOTHING, SystemClock(), frozenset()),
        add_IntakeServiceServicer_to_server,
        intake_access.ACCESS,
        intake_errors,
        intake_limits.LIMITS,
    ),
    "classifier": (
        classifier.ClassifierServicer(NOTHING, ClassifierMetrics(CollectorRegistry())),
        add_ClassifierServiceServicer_to_server,
        classifier_access.ACCESS,
        classifier_errors,
        classifier_limits.LIMITS,
    ),
    "dispatcher": (
        dispatcher.DispatcherServicer(NOTHING, NOTHING, NOTHING),
        add_DispatcherServiceServicer_to_server,
        dispatcher_access.ACCESS,
        dispatcher_errors,
        dispatcher_limits.LIMITS,
    ),
    "sla": (
        sla.SlaServicer(NOTHING, NOTHING),
        add_SlaServiceServicer_to_server,
        sla_access.ACCESS,
        sla_errors,
        sla_limits.LIMITS,
    ),
}
MALFORMED = b"\xff\xff\xff"
PATIENCE_SECONDS = 20
MOST_BYTES = 6000


class KnownCallers:
    """Knows the roles themselves as tokens."""

    def cached(self, token: str) -> tuple[bool, Caller | None]:
        return True, Caller(Role(token), "someone") if token in list(Role) else None

    def authenticate(self, token: str) -> Caller | None:
        return self.cached(token)[1]

    def fresh_for(self, _token: str) -> float:
        return 3600


@dataclass(frozen=True)
class Answer:
    """A refusal as a client reads it."""

    code: grpc.StatusCode
    reason: str
    fields: tuple[str, ...]
    bytes_sent: int


@dataclass(frozen=True)
class Door:
    """A server that runs."""

    address: str
    health_address: str
    access: Mapping[str, frozenset[Role]]
    channel: grpc.Channel

    def refused(self, method: MethodDescriptor, data: bytes, *, token: str | None = None) -> Answer:
        """Send bytes to a method that must refuse them; the token is of a role that may call, unless another is given."""
        role = token if token is not None else min(self.access[method.name]).value
        make = self.channel.unary_stream if method.server_streaming else self.channel.unary_unary
        call = make(f"/{method.containing_service.full_name}/{method.name}", request_serializer=None, response_deserializer=None)
        metadata = [("authorization", f"Bearer {role}")] if role else []
        with pytest.raises(grpc.RpcError) as caught:
            list(call(data, metadata=metadata, timeout=PATIENCE_SECONDS))
        return read(caught.value)


def read(error: grpc.RpcError) -> Answer:
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # every error of a call is a Call
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details if status else ():
        _ = detail.Unpack(info) or detail.Unpack(bad)
    return Answer(error.code(), info.reason, tuple(each.field for each in bad.field_violations), wire_size(error))


@contextmanager
def open_door(name: str) -> Iterator[Door]:
    servicer, register, access, errors, limits = PARTS[name]
    service = Service(
        name=SERVICES[name].full_name,
        register=lambda server: register(servicer, server),
        access=access,
        requests=read_requests(SERVICES[name], limits),
        domain=errors.DOMAIN,
        translate=errors.translate,
    )
    address, health_address = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    callers: Any = KnownCallers()
    server = GrpcServer(service, callers, ChassisMetrics(), address=address, health_address=health_address, threads=4, max_in_flight=64)
    server._drain_notice /= 10
    stop = threading.Event()
    thread = threading.Thread(target=server.run, args=(stop,))
    thread.start()
    try:
        with grpc.insecure_channel(address) as channel:
            grpc.channel_ready_future(channel).result(timeout=PATIENCE_SECONDS)
            yield Door(address, health_address, access, channel)
    finally:
        stop.set()
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def doors() -> Iterator[Mapping[str, Door]]:
    with ExitStack() as opened:
        yield {name: opened.enter_context(open_door(name)) for name in PARTS}


@pytest.mark.parametrize(("name", "method"), METHODS, ids=lambda value: getattr(value, "name", value))
def test_bytes_that_are_no_request_are_refused_once_the_caller_is_known_and_without_a_traceback(
    doors: Mapping[str, Door], name: str, method: MethodDescriptor, caplog: pytest.LogCaptureFixture
) -> None:
    others = sorted(set(Role) - doors[name].access[method.name])

    unknown = doors[name].refused(method, MALFORMED, token="")
    wrong = doors[name].refused(method, MALFORMED, token="nobody")  # noqa: S106 - known to nobody
    forbidden = [doors[name].refused(method, MALFORMED, token=role.value) for role in others]
    known = doors[name].refused(method, MALFORMED)

    assert [(each.code, each.reason) for each in (unknown, wrong)] == [(grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")] * 2
    assert {(each.code, each.reason) for each in forbidden} <= {(grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED")}
    assert (known.code, known.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("place", ["address", "health_address"])
@pytest.mark.parametrize("method", ["Check", "Watch"])
def test_health_answers_bytes_that_are_no_request_alike(
    doors: Mapping[str, Door], place: str, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    with grpc.insecure_channel(getattr(doors["sla"], place)) as channel:
        make = channel.unary_stream if method == "Watch" else channel.unary_unary
        call = make(f"/grpc.health.v1.Health/{method}", request_serializer=None, response_deserializer=None)
        with pytest.raises(grpc.RpcError) as caught:
            list(call(MALFORMED, timeout=PATIENCE_SECONDS))

    assert (read(caught.value).code, read(caught.value).reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_reflection_answers_bytes_that_are_no_request_alike(doors: Mapping[str, Door], caplog: pytest.LogCaptureFixture) -> None:
    name = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    call = doors["sla"].channel.stream_stream(name, request_serializer=None, response_deserializer=None)

    with pytest.raises(grpc.RpcError) as caught:
        list(call(iter([MALFORMED]), timeout=PATIENCE_SECONDS))

    assert (read(caught.value).code, read(caught.value).reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_every_string_of_every_request_is_bounded_and_the_refusal_is_small(doors: Mapping[str, Door]) -> None:
    for place in places(is_string):
        for value in ("ab\x00c", "工" * 20_000, "\x00" * 300_000):
            request: Any = place.request(value)
            if place.method.name == "Return":
                request.reason = 1  # without it nothing else is looked at

            answer = _refused(doors, place, request)

            assert answer.code is grpc.StatusCode.INVALID_ARGUMENT, str(place)
            assert place.path in answer.fields, str(place)
            assert answer.bytes_sent < MOST_BYTES, str(place)


def test_every_timestamp_of_every_request_is_bounded(doors: Mapping[str, Door]) -> None:
    for place in places(is_timestamp):
        for seconds, nanos in ((-(2**63), 0), (2**63 - 1, 0), (-62135596800, 0), (253402300799, 999_999_999), (1_800_000_000, -1)):
            answer = _refused(doors, place, place.request(Timestamp(seconds=seconds, nanos=nanos)))

            assert (answer.code, answer.reason, answer.fields) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", (place.path,)), str(
                place
            )


def test_every_list_of_every_request_is_bounded_and_the_refusal_is_small(doors: Mapping[str, Door]) -> None:
    for place in places(is_list):
        field = place.fields[-1]
        few: list[Any] = ["\x00" * 5000] * 15
        if field.message_type is not None:
            few = [type(getattr(place.request(), field.name).add())(pause_time=Timestamp(seconds=2**60)) for _ in range(100)]
        elif field.enum_type is not None:
            few = [99] * 100
        many = [few[0] if field.message_type is not None else 99 if field.enum_type is not None else "x"] * 5000

        for values in (few, many):
            answer = _refused(doors, place, place.request(*values))

            assert answer.code is grpc.StatusCode.INVALID_ARGUMENT, str(place)
            assert answer.bytes_sent < MOST_BYTES, str(place)


@pytest.mark.parametrize("place", places(is_enum), ids=str)
def test_an_enum_value_that_no_contract_knows_is_refused(doors: Mapping[str, Door], place: Place) -> None:
    answer = _refused(doors, place, place.request(99))

    assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert place.path.removesuffix("[0]") in answer.fields


_BOMB = """
import sys
import grpc
address, method, compression = sys.argv[1:]
with grpc.insecure_channel(address, options=[("grpc.max_send_message_length", -1)]) as channel:
    call = channel.unary_stream(method, request_serializer=None, response_deserializer=None)
    try:
        list(call(bytes(200 << 20), compression=grpc.Compression[compression], timeout=60))
    except grpc.RpcError as error:
        print(error.code().name, error.details())
"""


@pytest.mark.parametrize("compression", ["Gzip", "Deflate"])
@pytest.mark.parametrize("method", ["/paidan.intake.v1.IntakeService/WatchTicket", "/paidan.intake.v1.IntakeService/SubmitTicket"])
def test_a_request_that_unpacks_to_200_mib_is_refused_without_unpacking_it(
    doors: Mapping[str, Door], method: str, compression: str
) -> None:
    command = [sys.executable, "-c", _BOMB, doors["intake"].address, method, compression]
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _memory("VmHWM")

    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout

    assert said.startswith("RESOURCE_EXHAUSTED")
    assert _memory("VmHWM") - before < 32 << 10, "KiB"


def test_a_client_that_pings_every_5_s_is_borne_also_without_a_call(doors: Mapping[str, Door]) -> None:
    host, port = doors["sla"].address.split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, b""))
        # The library forgives the first pings that come too soon, and ends the connection at the next: these use up what is forgiven.
        for number in range(3):
            connection.sendall(_frame(_PING, bytes([number] * 8)))
        time.sleep(5)
        connection.sendall(_frame(_PING, b"5 s late"))

        frames = []
        while not frames or (frames[-1] not in {(_PING, b"5 s late"), (None, b"")} and frames[-1][0] != _GOAWAY):
            frames.append(_read_frame(connection))

    assert frames[-1] == (_PING, b"5 s late")


_SETTINGS, _PING, _GOAWAY = 4, 6, 7


def _frame(kind: int, payload: bytes) -> bytes:
    """Return a frame of stream 0 (RFC 9113, section 4.1)."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, 0]) + bytes(4) + payload


def _read_frame(connection: socket.socket) -> tuple[int | None, bytes]:
    head = _read(connection, 9)
    return (head[3], _read(connection, int.from_bytes(head[:3], "big"))) if head else (None, b"")


def _read(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            return b""
        data += more
    return data


def _refused(doors: Mapping[str, Door], place: Place, request: Message) -> Answer:
    return doors[place.service].refused(place.method, request.SerializeToString())


def _memory(name: str) -> int:
    """Return one of this process's figures of memory, in KiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))
