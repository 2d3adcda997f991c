"""The service's gRPC door, on a real server, with a caller of each role."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import pytest
from prometheus_client import CollectorRegistry

from chassis.caller import Caller, Role
from chassis.gate import Service
from chassis.grpc import GrpcServer
from chassis.metrics import ChassisMetrics
from chassis.request_limits import read_requests
from paidan.classifier.v1 import classifier_service_pb2
from paidan.classifier.v1.classifier_service_pb2_grpc import ClassifierServiceStub, add_ClassifierServiceServicer_to_server
from services.classifier.adapters.access import ACCESS
from services.classifier.adapters.errors import DOMAIN, translate
from services.classifier.adapters.grpc import SERVICE, ClassifierServicer
from services.classifier.adapters.limits import LIMITS
from services.classifier.telemetry import ClassifierMetrics
from tests.unit.classifier.builders import FixedModels, recogniser

if TYPE_CHECKING:
    from collections.abc import Iterator


class KnownCallers:
    """Knows the roles themselves as tokens."""

    def cached(self, token: str) -> tuple[bool, Caller | None]:
        return True, Caller(Role(token), "someone") if token in list(Role) else None

    def authenticate(self, token: str) -> Caller | None:
        return self.cached(token)[1]


@dataclass(frozen=True)
class Door:
    """A server that runs."""

    stub: ClassifierServiceStub
    models: FixedModels

    def metadata(self, role: str = "portal") -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {role}"),)


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def serve(models: FixedModels) -> Iterator[Door]:
    servicer = ClassifierServicer(models, ClassifierMetrics(CollectorRegistry()))
    address = free_address()
    server = GrpcServer(
        Service(
            name=SERVICE,
            register=lambda each: add_ClassifierServiceServicer_to_server(servicer, each),
            access=ACCESS,
            requests=read_requests(classifier_service_pb2.DESCRIPTOR.services_by_name["ClassifierService"], LIMITS),
            domain=DOMAIN,
            translate=translate,
        ),
        KnownCallers(),  # type: ignore[arg-type]  # stands in for the authenticator
        ChassisMetrics(),
        address=address,
        health_address=free_address(),
        threads=4,
        max_in_flight=64,
    )
    stop = threading.Event()
    thread = threading.Thread(target=server.run, args=(stop,))
    thread.start()
    try:
        with grpc.insecure_channel(address) as channel:
            grpc.channel_ready_future(channel).result(timeout=10)
            yield Door(ClassifierServiceStub(channel), models)
    finally:
        stop.set()
        thread.join()


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    yield from serve(FixedModels(recogniser()))


@pytest.fixture(scope="module")
def door_without_model() -> Iterator[Door]:
    yield from serve(FixedModels(None))
