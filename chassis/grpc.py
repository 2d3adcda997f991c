"""The gRPC door: one server for every service.

    RPC ──► room? ──► who calls? ──► may this role? ──► unary: a thread of a bounded pool ──► answer, or a refusal as rich error
                                                    ├─► unary, `async def`: a coroutine, for one that only waits for another thread
                                                    └─► stream: a coroutine; holds no thread

The server runs on an event loop in one thread, so that thousands of open streams cost no threads; unary methods are plain functions in a
pool, since the database client and the classifier block anyway.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from chassis import trace
from chassis.refusal import Refusal, RefusalKind

if TYPE_CHECKING:
    import threading
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence

    from google.protobuf.message import Message

    from chassis.caller import Caller, Role
    from chassis.identity.tokens import Authenticator
    from chassis.metrics import ChassisMetrics

log = structlog.get_logger()

COMMON_DOMAIN = "paidan"
_COMMON_REASONS = frozenset(
    {"UNAUTHENTICATED", "ROLE_NOT_ALLOWED", "OVERLOADED", "STORE_UNAVAILABLE", "DEADLINE_OVER", "INTERNAL"},
)
_CODES = {
    RefusalKind.INVALID: code_pb2.INVALID_ARGUMENT,
    RefusalKind.NOT_FOUND: code_pb2.NOT_FOUND,
    RefusalKind.ALREADY_EXISTS: code_pb2.ALREADY_EXISTS,
    RefusalKind.CONFLICT: code_pb2.FAILED_PRECONDITION,
    RefusalKind.FORBIDDEN: code_pb2.PERMISSION_DENIED,
    RefusalKind.UNAUTHENTICATED: code_pb2.UNAUTHENTICATED,
    RefusalKind.EXHAUSTED: code_pb2.RESOURCE_EXHAUSTED,
    RefusalKind.UNAVAILABLE: code_pb2.UNAVAILABLE,
    RefusalKind.ABORTED: code_pb2.ABORTED,
    RefusalKind.DEADLINE: code_pb2.DEADLINE_EXCEEDED,
    RefusalKind.INTERNAL: code_pb2.INTERNAL,
}
_MAX_MESSAGE_BYTES = 1024 * 1024
SERVER_OPTIONS = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", 8 * _MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.max_connection_age_ms", 3_600_000),
    ("grpc.max_connection_age_grace_ms", 60_000),
    ("grpc.so_reuseport", 0),
)
_STREAM_WRITE_TIMEOUT = timedelta(seconds=10)
_STOP_POLL_SECONDS = 0.05
_MAX_STREAMS = 5000
_STREAMS_RETRY = timedelta(seconds=5)

_caller: contextvars.ContextVar[Caller] = contextvars.ContextVar("caller")
_deadline: contextvars.ContextVar[float | None] = contextvars.ContextVar("deadline", default=None)


class SlowReader(Exception):
    """Thrown into a streaming method whose reader did not take a message in time; it may raise a refusal that says how to resume."""


def current_caller() -> Caller:
    """Return who calls the method that is being carried out."""
    return _caller.get()


def time_left() -> timedelta | None:
    """Return how long the caller of the method under way will wait, or None if it set no deadline."""
    deadline = _deadline.get()
    return None if deadline is None else timedelta(seconds=deadline - time.monotonic())


@dataclass(frozen=True, slots=True)
class Service:
    """A gRPC service to serve.

    Attributes:
        name: Full name, e.g. `paidan.intake.v1.IntakeService`.
        register: Adds the servicer to a server.
        access: Which role may call which method; a method that is not in it is refused.
        domain: Domain of the reasons in its refusals, e.g. `intake.paidan`.
        translate: Turns an error of the service into a refusal; None if it does not know the error.
    """

    name: str
    register: Callable[[grpc.aio.Server], None]
    access: Mapping[str, frozenset[Role]]
    domain: str
    translate: Callable[[Exception], Refusal | None]


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
            drain_notice: Time between the health turning NOT_SERVING and the end of accepting.
            drain_grace: Time for RPCs in hand to end; open streams are cut off after it.
        """
        self._service = service
        self._gate = _Gate(service, authenticator, metrics, threads=threads, max_in_flight=max_in_flight)
        self._address = address
        self._health_address = health_address
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
        server = grpc.aio.server(interceptors=[self._gate], options=SERVER_OPTIONS)
        self._service.register(server)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        reflection.enable_server_reflection(
            [self._service.name, health.SERVICE_NAME, reflection.SERVICE_NAME],
            server,
        )
        health_server = grpc.aio.server(options=SERVER_OPTIONS)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, health_server)
        _bind(server, self._address)
        _bind(health_server, self._health_address)
        await server.start()
        await health_server.start()
        await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
        await servicer.set(self._service.name, health_pb2.HealthCheckResponse.SERVING)
        log.info("serving", address=self._address, health_address=self._health_address)
        while not stop.is_set():  # noqa: ASYNC110 - the event is another thread's
            await asyncio.sleep(_STOP_POLL_SECONDS)
        await servicer.enter_graceful_shutdown()
        await asyncio.sleep(self._drain_notice.total_seconds())
        await server.stop(self._drain_grace.total_seconds())
        await health_server.stop(0)
        self._gate.close()


def _bind(server: grpc.aio.Server, address: str) -> None:
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError as error:
        message = f"cannot listen on {address}: is another process there?"
        raise OSError(message) from error
    if bound == 0:
        message = f"cannot listen on {address}"
        raise OSError(message)


class _Answered(Exception):
    """An error with the status that answers it."""

    def __init__(self, status: grpc.Status) -> None:
        super().__init__()
        self.status = status


class _Gate(grpc.aio.ServerInterceptor):
    """Authentication, access, admission, deadlines, errors and metrics, around every method of the service."""

    def __init__(
        self,
        service: Service,
        authenticator: Authenticator,
        metrics: ChassisMetrics,
        *,
        threads: int,
        max_in_flight: int,
    ) -> None:
        self._service = service
        self._authenticator = authenticator
        self._metrics = metrics
        self._max_in_flight = max_in_flight
        self._in_flight = 0
        self._open_streams = 0
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="rpc")

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap the methods of the service; let health and reflection through."""
        handler = await continuation(handler_call_details)
        service, _, method = handler_call_details.method.lstrip("/").partition("/")
        if handler is None or service != self._service.name:
            return handler
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._stream(method, handler.unary_stream),  # type: ignore[arg-type]  # our streams are async generators
                handler.request_deserializer,
                handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._unary(method, handler.unary_unary),  # type: ignore[arg-type]  # present for a unary method
            handler.request_deserializer,
            handler.response_serializer,
        )

    def _unary(self, method: str, behaviour: Callable[[Message, Any], Message]) -> Callable[[Message, Any], Awaitable[Message]]:
        async def call(request: Message, context: grpc.aio.ServicerContext[Message, Message]) -> Message:
            started = time.perf_counter()
            code = grpc.StatusCode.OK
            try:
                with trace.continue_from(_metadata(context, "traceparent")), self._refusals(method):
                    return await self._admit(method, behaviour, request, context)
            except asyncio.CancelledError:
                code = grpc.StatusCode.CANCELLED
                raise
            except _Answered as answered:
                code = answered.status.code
                await context.abort_with_status(answered.status)
                raise
            finally:
                self._metrics.rpc_seconds.labels(method).observe(time.perf_counter() - started)
                self._metrics.rpcs.labels(method, code.name).inc()

        return call

    @contextmanager
    def _refusals(self, method: str) -> Iterator[None]:
        """Turn every error into the status that answers it.

        Raises:
            _Answered: There was an error.
        """
        try:
            yield
        except Exception as error:
            refusal = error if isinstance(error, Refusal) else self._service.translate(error) or _common(method, error)
            domain = COMMON_DOMAIN if refusal.reason in _COMMON_REASONS else self._service.domain
            raise _Answered(rpc_status.to_status(_rich(refusal, domain))) from error

    async def _admit(
        self,
        method: str,
        behaviour: Callable[[Message, Any], Message],
        request: Message,
        context: grpc.aio.ServicerContext[Message, Message],
    ) -> Message:
        remaining = context.time_remaining()
        if remaining is not None and remaining <= 0:
            raise Refusal(RefusalKind.DEADLINE, "DEADLINE_OVER", "the deadline was over before the call was taken up")
        if self._in_flight >= self._max_in_flight:
            raise Refusal(RefusalKind.EXHAUSTED, "OVERLOADED", "too many calls are in hand", retry_after=timedelta(seconds=1))
        self._in_flight += 1
        try:
            await self._identify(method, context)
            _deadline.set(None if remaining is None else time.monotonic() + remaining)
            if iscoroutinefunction(behaviour):
                response: Message = await behaviour(request, context)
            else:
                response = await self._in_pool(behaviour, request, context)
            return response
        finally:
            self._in_flight -= 1

    async def _in_pool(self, function: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401 - whatever the function returns
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._pool, context.run, function, *arguments)

    def _stream(
        self,
        method: str,
        behaviour: Callable[[Message, Any], AsyncGenerator[Message, None]],
    ) -> Callable[[Message, Any], Awaitable[None]]:
        async def serve(request: Message, context: grpc.aio.ServicerContext[Message, Message]) -> None:
            code = grpc.StatusCode.OK
            refused: grpc.Status | None = None
            self._metrics.streams.labels(method).inc()
            try:
                with trace.continue_from(_metadata(context, "traceparent")), self._refusals(method):
                    if self._open_streams > _MAX_STREAMS:
                        raise Refusal(RefusalKind.EXHAUSTED, "OVERLOADED", "too many streams are open", retry_after=_STREAMS_RETRY)
                    await self._identify(method, context)
                    await _pump(behaviour(request, context), context)
            except asyncio.CancelledError:
                code = grpc.StatusCode.CANCELLED
                raise
            except _Answered as answered:
                refused = answered.status
                code = refused.code
            finally:
                self._metrics.streams.labels(method).dec()
                self._metrics.rpcs.labels(method, code.name).inc()
            if refused is not None:
                # A reader that reads nothing does not take this either; the transport keeps it until then, or until the connection ends.
                await context.abort_with_status(refused)

        async def call(request: Message, context: grpc.aio.ServicerContext[Message, Message]) -> None:
            # Counted until its refusal is taken too: sleeping readers must not pile up beyond the bound.
            self._open_streams += 1
            try:
                await serve(request, context)
            finally:
                self._open_streams -= 1

        return call

    async def _identify(self, method: str, context: grpc.aio.ServicerContext[Message, Message]) -> None:
        """Set the caller of this context.

        Raises:
            Refusal: No valid token, or the role may not call this method.
        """
        scheme, _, token = (_metadata(context, "authorization") or "").partition(" ")
        caller = None
        if scheme.lower() == "bearer" and token:
            known, caller = self._authenticator.cached(token)
            if not known:
                caller = await self._in_pool(self._authenticator.authenticate, token)
        if caller is None:
            message = "send `authorization: Bearer <token>` with a token that is known, not expired and not revoked"
            raise Refusal(RefusalKind.UNAUTHENTICATED, "UNAUTHENTICATED", message)
        if caller.role not in self._service.access.get(method, frozenset()):
            raise Refusal(
                RefusalKind.FORBIDDEN,
                "ROLE_NOT_ALLOWED",
                f"a {caller.role.value} may not call {method}",
                metadata={"role": caller.role.value, "method": method},
            )
        _caller.set(caller)


async def _pump(messages: AsyncGenerator[Message, None], context: grpc.aio.ServicerContext[Message, Message]) -> None:
    """Write a stream's messages; throw `SlowReader` into it when one is not taken in time.

    Raises:
        asyncio.CancelledError: The reader has gone.
    """
    async with aclosing(messages) as source:
        async for message in source:
            # Waited for and never cancelled: the transport holds a message until it can be sent, whatever becomes of us.
            write = asyncio.ensure_future(context.write(message))
            write.add_done_callback(_look_at)
            done, _ = await asyncio.wait({write}, timeout=_STREAM_WRITE_TIMEOUT.total_seconds())
            if not done:
                await source.athrow(SlowReader())
                return
            try:
                write.result()
            except grpc.aio.InternalError as error:
                raise asyncio.CancelledError from error


def _look_at(write: asyncio.Future[None]) -> None:
    """Look at the outcome of a write that nobody waits for any more, so that asyncio does not complain of it."""
    if not write.cancelled():
        write.exception()


def _metadata(context: grpc.aio.ServicerContext[Message, Message], name: str) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == name:
            return value if isinstance(value, str) else value.decode(errors="replace")
    return None


def _common(method: str, error: Exception) -> Refusal:
    if isinstance(error, (OperationalError, InterfaceError, PoolTimeout)):
        log.warning("store_unavailable", method=method, error=type(error).__name__)
        return Refusal(
            RefusalKind.UNAVAILABLE,
            "STORE_UNAVAILABLE",
            "the store is out of reach; repeat the call with the same request_id",
            retry_after=timedelta(seconds=1),
        )
    log.error("rpc_failed", method=method, exc_info=error)
    trace_id = trace.current_id() or ""
    return Refusal(RefusalKind.INTERNAL, "INTERNAL", f"a fault of ours; it was logged as {trace_id}", metadata={"trace_id": trace_id})


def _rich(refusal: Refusal, domain: str) -> status_pb2.Status:
    """Build the rich error of a refusal (https://google.aip.dev/193)."""
    details: Sequence[Message] = [
        error_details_pb2.ErrorInfo(reason=refusal.reason, domain=domain, metadata=refusal.metadata),
        *_bad_request(refusal),
        *_retry_info(refusal),
    ]
    packed = []
    for detail in details:
        container = any_pb2.Any()
        container.Pack(detail)
        packed.append(container)
    return status_pb2.Status(code=_CODES[refusal.kind], message=refusal.message, details=packed)


def _bad_request(refusal: Refusal) -> list[error_details_pb2.BadRequest]:
    if not refusal.violations:
        return []
    violations = [
        error_details_pb2.BadRequest.FieldViolation(field=violation.field, description=violation.description)
        for violation in refusal.violations
    ]
    return [error_details_pb2.BadRequest(field_violations=violations)]


def _retry_info(refusal: Refusal) -> list[error_details_pb2.RetryInfo]:
    if refusal.retry_after is None:
        return []
    delay = duration_pb2.Duration()
    delay.FromTimedelta(refusal.retry_after)
    return [error_details_pb2.RetryInfo(retry_delay=delay)]
