"""The whole of Paidan on one machine: the real parts, the schemas, the topics, and four service processes."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chassis.settings import KafkaSettings
from deploy.local.errors import LocalPartError, PortsTakenError
from deploy.local.lock import DirectoryLock
from deploy.local.parts import open_parts
from deploy.local.ports import free_ports, listens_on, taken_ports
from deploy.local.process import ManagedProcess, wait_until
from deploy.schemas import SERVICES, migrate_all
from deploy.topics import create_topics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from deploy.local.parts import LocalParts

_READY_WITHIN = timedelta(seconds=60)
_GRACE = timedelta(seconds=25)
_PORT_USES = ("RPCs", "health", "metrics")
_ROOT = Path(__file__).resolve().parents[2]


class LocalService:
    """One replica of a service as a process."""

    def __init__(self, name: str, *, parts: LocalParts, log_dir: Path, ports: Sequence[int] | None = None, label: str = "") -> None:
        """Describe a replica; nothing is started yet.

        Args:
            name: Service.
            parts: Kafka and PostgreSQL.
            log_dir: Where its log goes.
            ports: Ports of RPCs, health and metrics; free ones if None.
            label: Sets its log apart from those of other replicas.
        """
        self.name = name
        self._ports = list(ports or free_ports(3))
        self._environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP": parts.kafka_bootstrap,
            "DATABASE_URL": parts.database_url,
            "PAIDAN_GRPC_ADDRESS": self.address,
            "PAIDAN_HEALTH_ADDRESS": self.health_address,
            "PAIDAN_METRICS_ADDRESS": self.metrics_address,
        }
        self._log_path = log_dir / f"{name}{label}.log"
        self._process: ManagedProcess | None = None

    @property
    def address(self) -> str:
        """`host:port` of the service's RPCs."""
        return f"127.0.0.1:{self._ports[0]}"

    @property
    def health_address(self) -> str:
        """`host:port` of health."""
        return f"127.0.0.1:{self._ports[1]}"

    @property
    def metrics_address(self) -> str:
        """`host:port` of the metrics."""
        return f"127.0.0.1:{self._ports[2]}"

    @property
    def process(self) -> ManagedProcess:
        """The process of the latest start.

        Raises:
            RuntimeError: It was never started.
        """
        if self._process is None:
            message = f"{self.name} was never started"
            raise RuntimeError(message)
        return self._process

    @property
    def alive(self) -> bool:
        """Return whether the process of the latest start runs."""
        return self._process is not None and self._process.alive

    def start(self, environment: Mapping[str, str] | None = None, *, module: Sequence[str] = ()) -> None:
        """Start the process, in place of the one before, dead or alive; returns at once.

        Args:
            environment: Variables on top of the usual ones.
            module: Module and arguments to run instead of the service's own.
        """
        if self._process is not None:
            self._process.kill()
        argv = [sys.executable, "-m", *(module or [f"services.{self.name}"])]
        self._process = ManagedProcess(self.name, argv, {**self._environment, **(environment or {})}, self._log_path, cwd=_ROOT)
        self._process.start()

    def wait_ready(self) -> None:
        """Wait until its health is SERVING and its own process listens on its ports.

        Raises:
            LocalPartError: The process ended, or did not become ready in time.
        """
        wait_until(self._is_serving, _READY_WITHIN, "health SERVING", self.process)

    def restart(self) -> None:
        """Start the process and wait until it is ready.

        Raises:
            LocalPartError: The process ended, or did not become ready in time.
        """
        self.start()
        self.wait_ready()

    def kill(self) -> None:
        """Kill the process."""
        if self._process is not None:
            self._process.kill()

    def stop(self) -> None:
        """Drain and stop it."""
        if self._process is not None:
            self._process.stop(_GRACE)

    def _is_serving(self) -> bool:
        with grpc.insecure_channel(self.health_address) as channel:
            try:
                check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]  # set at run time
                answer = check(health_pb2.HealthCheckRequest(), timeout=1)
            except grpc.RpcError:
                return False
        serving = answer.status == health_pb2.HealthCheckResponse.SERVING
        # Another process may own the port and answer there, while our own process ends because the port is in use.
        return serving and listens_on(self.process.pid or 0, self._ports)


@dataclass(frozen=True)
class LocalStack:
    """What runs.

    Attributes:
        parts: Kafka and PostgreSQL.
        services: Name of the service → its process.
        log_dir: Where the logs are.
    """

    parts: LocalParts
    services: Mapping[str, LocalService]
    log_dir: Path


@contextmanager
def open_stack(
    data_dir: Path,
    *,
    on_progress: Callable[[str], None],
    services: Sequence[str] = SERVICES,
    ports: Mapping[str, Sequence[int]] | None = None,
) -> Iterator[LocalStack]:
    """Start everything, and stop it at the end of the `with` block, however it ends.

    Args:
        data_dir: Data and logs of the parts and services.
        on_progress: Gets a line for each thing that happens.
        services: Which services to start.
        ports: Ports of RPCs, health and metrics of a service; free ones where None.

    Raises:
        InUseError: Another run uses the directory.
        PortsTakenError: Another process listens on one of the ports; nothing was started.
        LocalPartError: Something did not become ready.
    """
    with DirectoryLock(data_dir).held():
        _refuse_taken(ports or {})
    with ExitStack() as stack:
        parts = stack.enter_context(open_parts(data_dir, on_progress=on_progress))
        migrate_all(parts.database_url)
        created = create_topics(KafkaSettings(bootstrap=parts.kafka_bootstrap).client_options())
        on_progress(f"schemas are up to date, {created} topics were created")
        log_dir = data_dir / "logs"
        log_dir.mkdir(parents=True, exist_ok=True)
        running = {name: LocalService(name, parts=parts, log_dir=log_dir, ports=(ports or {}).get(name)) for name in services}
        for service in running.values():
            stack.callback(service.stop)
        start_services(list(running.values()), on_progress)
        stack.callback(on_progress, "stopping the services")
        yield LocalStack(parts, running, log_dir)


def _refuse_taken(ports: Mapping[str, Sequence[int]]) -> None:
    uses = {port: f"{port} ({name}, {use})" for name, of_service in ports.items() for port, use in zip(of_service, _PORT_USES, strict=True)}
    if taken := taken_ports(uses):
        raise PortsTakenError({uses[port]: holder for port, holder in taken.items()})


def start_services(services: Sequence[LocalService], on_progress: Callable[[str], None]) -> None:
    """Start processes side by side and wait until each is ready.

    Raises:
        LocalPartError: One did not become ready.
    """
    begin = monotonic()
    for service in services:
        service.start()
    for service in services:
        service.wait_ready()
        on_progress(f"{service.name} is ready at {service.address} after {monotonic() - begin:.1f} s")


__all__ = ["LocalPartError", "LocalService", "LocalStack", "open_stack", "start_services"]
