"""A service is ready only when its own process answers, and its ports are checked before anything starts."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from deploy.local.errors import InUseError, LocalPartError, PortsTakenError
from deploy.local.lock import DirectoryLock
from deploy.local.parts import LocalParts
from deploy.local.ports import free_ports
from deploy.local.stack import LocalService, open_stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def stranger() -> Iterator[int]:
    """The port of a foreign server whose health is SERVING."""
    server = grpc.server(ThreadPoolExecutor(1))
    servicer = health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None).wait()


def test_a_service_is_not_ready_when_another_process_answers_on_its_port(
    stranger: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.local.stack._READY_WITHIN", timedelta(seconds=1))
    parts = LocalParts(
        kafka_bootstrap="127.0.0.1:1", database_url="postgresql+psycopg://nobody@127.0.0.1:1/none", kafka=None, postgres=None
    )
    rpcs, metrics = free_ports(2)
    service = LocalService("sla", parts=parts, log_dir=tmp_path, ports=(rpcs, stranger, metrics))
    service.start(module=["timeit", "-n", "1", "import time; time.sleep(60)"])

    with pytest.raises(LocalPartError, match="no health SERVING within 1 s"):
        service.wait_ready()

    service.kill()


def test_all_taken_ports_are_named_with_their_use_before_anything_starts(tmp_path: Path) -> None:
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("0.0.0.0", 0)) as other:  # noqa: S104 - a stranger on all addresses
        first, second = one.getsockname()[1], other.getsockname()[1]
        ports = {"intake": (first, *free_ports(2)), "sla": (*free_ports(1), second, *free_ports(1))}

        with pytest.raises(PortsTakenError) as caught, open_stack(tmp_path, on_progress=said.append, ports=ports):
            pass

    assert set(caught.value.holders) == {f"{first} (intake, RPCs)", f"{second} (sla, health)"}
    assert said == []
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_directory_in_use_is_reported_before_taken_ports(tmp_path: Path, stranger: int) -> None:
    ports = {"sla": (stranger, *free_ports(2))}

    with (
        DirectoryLock(tmp_path).held(),
        pytest.raises(InUseError),
        open_stack(tmp_path, on_progress=lambda _line: None, ports=ports),
    ):
        pass
