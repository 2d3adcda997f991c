"""Authentication, access, admission, deadlines, errors and metrics, around every method of a service.

    RPC → admission → authentication → authorization → parsing and limits
      ├→ unary: a thread of a bounded pool
      ├→ unary, `async def`: a coroutine, for one that only waits for another thread
      └→ stream: a coroutine that holds no thread; its token is checked again while it is open

The library passes requests as bytes, so that nothing is parsed for an unauthenticated caller. Every refusal, by the gate or by the
method, becomes a rich error with a documented reason.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

import grpc

from chassis import trace
from chassis.open_calls import OpenCalls, TokenWatch, stopping, unauthenticated
from chassis.refusal import Refusal, RefusalKind
from chassis.rich_error import refusal_of, status_of
from chassis.transient import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping

    from google.protobuf.message import Message

    from chassis.caller import Caller, Role
    from chassis.identity.tokens import Authenticator
    from chassis.metrics import ChassisMetrics
    from chassis.request_limits import ReadRequest

_STREAM_WRITE_TIMEOUT = timedelta(seconds=10)
_MAX_STREAMS = 5000
_STREAMS_RETRY = timedelta(seconds=5)
_LOOK_UP_WITHIN = timedelta(seconds=5)
"""Time limit of the caller's lookup in the database; a stream has no deadline of its own."""
_ANSWER_BEFORE = timedelta(milliseconds=500)
_ANSWER_BEFORE_SHARE = 0.1

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
        requests: Reads the requests of each method from bytes; see `chassis.request_limits`.
        domain: Domain of the reasons in its refusals, e.g. `intake.paidan`.
        translate: Turns an error of the service into a refusal; None if it does not know the error.
    """

    name: str
    register: Callable[[grpc.aio.Server], None]
    access: Mapping[str, frozenset[Role]]
    requests: Mapping[str, ReadRequest]
    domain: str
    translate: Callable[[Exception], Refusal | None]


class _Answered(Exception):
    """An error with the status that answers it."""

    def __init__(self, status: grpc.Status) -> None:
        super().__init__()
        self.status = status


class Gate(grpc.aio.ServerInterceptor):
    """Stands before every method of a service; health and reflection pass by."""

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
        self._calls = OpenCalls()
        self._streams = OpenCalls()
        self._tokens = TokenWatch(authenticator, self._authenticate)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="rpc")

    def close(self) -> None:
        """Let the pool's threads go; what still waits is not begun."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def end_streams(self) -> None:
        """End the open streams because the server stops; clients resume them on another replica."""
        self._streams.end_all(stopping())

    def end_calls(self) -> None:
        """End the open unary calls because the server stops. Their threads continue, but their responses are lost."""
        self._calls.end_all(stopping())

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
                request_deserializer=None,
                response_serializer=handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._unary(method, handler.unary_unary),  # type: ignore[arg-type]  # present for a unary method
            request_deserializer=None,
            response_serializer=handler.response_serializer,
        )

    def _unary(self, method: str, behaviour: Callable[[Message, Any], Message]) -> Callable[[bytes, Any], Awaitable[Message]]:
        async def call(request: bytes, context: grpc.aio.ServicerContext[Message, Message]) -> Message:
            started = time.perf_counter()
            code = grpc.StatusCode.OK
            try:
                with trace.continue_from(_metadata(context, "traceparent")), self._refusals(method), self._calls.register():
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
            refusal = error if isinstance(error, Refusal) else self._service.translate(error) or refusal_of(method, error)
            raise _Answered(status_of(refusal, self._service.domain)) from error

    async def _admit(
        self,
        method: str,
        behaviour: Callable[[Message, Any], Message],
        data: bytes,
        context: grpc.aio.ServicerContext[Message, Message],
    ) -> Message:
        remaining = context.time_remaining()
        if remaining is not None and remaining <= 0:
            raise Refusal(RefusalKind.DEADLINE, "DEADLINE_OVER", "the deadline was over before the call was taken up")
        if self._in_flight >= self._max_in_flight:
            raise Refusal(RefusalKind.EXHAUSTED, "OVERLOADED", "too many calls are in hand", retry_after=timedelta(seconds=1))
        self._in_flight += 1
        try:
            _set_deadline(remaining)
            async with answering_within():
                await self._identify(method, context)
                request = self._service.requests[method](data)
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
    ) -> Callable[[bytes, Any], Awaitable[None]]:
        async def serve(request: bytes, context: grpc.aio.ServicerContext[Message, Message]) -> None:
            code = grpc.StatusCode.OK
            refused: grpc.Status | None = None
            self._metrics.streams.labels(method).inc()
            try:
                with trace.continue_from(_metadata(context, "traceparent")), self._refusals(method), self._streams.register() as this:
                    if self._open_streams > _MAX_STREAMS:
                        raise Refusal(RefusalKind.EXHAUSTED, "OVERLOADED", "too many streams are open", retry_after=_STREAMS_RETRY)
                    _set_deadline(context.time_remaining())
                    token, caller = await self._identify(method, context)
                    with self._tokens.watch(token, caller, this):
                        await _pump(behaviour(self._service.requests[method](request), context), context)
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

        async def call(request: bytes, context: grpc.aio.ServicerContext[Message, Message]) -> None:
            # Counted until its refusal is taken too: sleeping readers must not pile up beyond the bound.
            self._open_streams += 1
            try:
                await serve(request, context)
            finally:
                self._open_streams -= 1

        return call

    async def _identify(self, method: str, context: grpc.aio.ServicerContext[Message, Message]) -> tuple[str, Caller]:
        """Set the caller of this context; return its token and it.

        Raises:
            Refusal: No valid token, or the role may not call this method.
        """
        scheme, _, token = (_metadata(context, "authorization") or "").partition(" ")
        caller = await self._authenticate(token) if scheme.lower() == "bearer" and token else None
        if caller is None:
            raise unauthenticated()
        if caller.role not in self._service.access.get(method, frozenset()):
            raise Refusal(
                RefusalKind.FORBIDDEN,
                "ROLE_NOT_ALLOWED",
                f"a {caller.role.value} may not call {method}",
                metadata={"role": caller.role.value, "method": method},
            )
        _caller.set(caller)
        return token, caller

    async def _authenticate(self, token: str) -> Caller | None:
        """Return the caller of a token; use a thread only if the answer is not cached."""
        known, caller = self._authenticator.cached(token)
        if not known:
            async with answering_within(_LOOK_UP_WITHIN):
                caller = await self._in_pool(self._authenticator.authenticate, token)
        return caller


def _set_deadline(remaining: float | None) -> None:
    _deadline.set(None if remaining is None else time.monotonic() + remaining)


@asynccontextmanager
async def answering_within(most: timedelta | None = None) -> AsyncIterator[None]:
    """Stop waiting for another thread after `most`, or early enough that the response arrives before the call's deadline.

    Raises:
        StoreUnavailable: The time is over. The thread continues, limited by the time-outs of the database.
    """
    left = time_left()
    patience = [] if left is None else [left - min(left * _ANSWER_BEFORE_SHARE, _ANSWER_BEFORE)]
    patience += [] if most is None else [most]
    try:
        async with asyncio.timeout(min(patience).total_seconds() if patience else None) as limit:
            yield
    except TimeoutError as error:
        if limit.expired():
            raise StoreUnavailable from error
        raise


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
