"""The gRPC server of every service.

It runs on an event loop in one thread, so that thousands of open streams cost no threads; unary methods are plain functions in a pool,
since the database client and the classifier block anyway. What every call has to pass stands in `chassis.gate`.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from chassis.gate import Gate
from chassis.library_methods import LibraryMethods

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from chassis.gate import Service
    from chassis.identity.tokens import Authenticator
    from chassis.metrics import ChassisMetrics

log = structlog.get_logger()

_MAX_MESSAGE_BYTES = 1024 * 1024
SERVER_OPTIONS = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", 8 * _MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # 60 s by default, which would outlast the keepalive's own timeout
    # Clients may ping every 5 s, also without a call; 1 s allows for network jitter.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 4_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_connection_age_ms", 3_600_000),
    ("grpc.max_connection_age_grace_ms", 60_000),
    ("grpc.so_reuseport", 0),
)
_STOP_POLL_SECONDS = 0.05
_ANSWER_SECONDS = 0.5
"""Time to send the last refusals at a stop."""


class GrpcServer:
    """Serves one service, health and reflection on one address, and health alone on another: a component."""

    name = "grpc"

    def __init__(
        self,
        service: Service,
        authenticator: Authenticator,
        metrics: ChassisMetrics,
        *,
        address: str,
        health_address: str,
        threads: int,
        max_in_flight: int,
        healthy: Callable[[], bool] = lambda: True,
        drain_notice: timedelta = timedelta(milliseconds=500),
        drain_grace: timedelta = timedelta(seconds=5),
    ) -> None:
        """Prepare to serve.

        Args:
            service: What to serve.
            authenticator: Finds callers.
            metrics: Where calls are counted.
            address: `host:port` of the service.
            health_address: `host:port` of health alone, which no load can starve.
            threads: Unary methods at once.
            max_in_flight: Unary RPCs in hand at once, waiting ones included; more are refused.
            healthy: Returns whether the rest of the process makes progress; the health service reports it.
            drain_notice: Time between the health turning NOT_SERVING and the end of accepting.
            drain_grace: Time for open unary RPCs to end. Then they end with STOPPING; open streams end with it at once.
        """
        self._service = service
        self._gate = Gate(service, authenticator, metrics, threads=threads, max_in_flight=max_in_flight)
        self._address = address
        self._health_address = health_address
        self._healthy = healthy
        self._drain_notice = drain_notice
        self._drain_grace = drain_grace

    def run(self, stop: threading.Event) -> None:
        """Serve until `stop` is set, then drain.

        Raises:
            OSError: An address is not free.
        """
        asyncio.run(self._serve(stop))

    async def _serve(self, stop: threading.Event) -> None:
        servicer = health.aio.HealthServicer()
        library = LibraryMethods(health.SERVICE_NAME, reflection.SERVICE_NAME)
        server = grpc.aio.server(interceptors=[self._gate, library], options=SERVER_OPTIONS)
        self._service.register(server)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        reflection.enable_server_reflection(
            [self._service.name, health.SERVICE_NAME, reflection.SERVICE_NAME],
            server,
        )
        health_server = grpc.aio.server(interceptors=[library], options=SERVER_OPTIONS)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, health_server)
        _bind(server, self._address)
        _bind(health_server, self._health_address)
        await server.start()
        await health_server.start()
        log.info("serving", address=self._address, health_address=self._health_address)
        reported: bool | None = None
        while not stop.is_set():
            if reported != (reported := self._healthy()):
                state = health_pb2.HealthCheckResponse.SERVING if reported else health_pb2.HealthCheckResponse.NOT_SERVING
                await servicer.set("", state)
                await servicer.set(self._service.name, state)
            await asyncio.sleep(_STOP_POLL_SECONDS)
        await servicer.enter_graceful_shutdown()
        await asyncio.sleep(self._drain_notice.total_seconds())
        await self._drain(server)
        await health_server.stop(0)
        self._gate.close()

    async def _drain(self, server: grpc.aio.Server) -> None:
        """Accept no more RPCs, and answer the open ones: streams at once, unary calls when they end or the grace period is over."""
        grace = self._drain_grace.total_seconds()
        stopped = asyncio.ensure_future(server.stop(grace + _ANSWER_SECONDS))
        self._gate.end_streams()
        await asyncio.wait({stopped}, timeout=grace)
        self._gate.end_calls()
        await stopped


def _bind(server: grpc.aio.Server, address: str) -> None:
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError as error:
        message = f"cannot listen on {address}: is another process there?"
        raise OSError(message) from error
    if bound == 0:
        message = f"cannot listen on {address}"
        raise OSError(message)
