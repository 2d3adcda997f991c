"""Interceptor for the library's health and reflection services: malformed requests get `MALFORMED_REQUEST`, without a logged traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError

from chassis.refusal import Refusal, RefusalKind
from chassis.rich_error import COMMON_DOMAIN, status_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Context = grpc.aio.ServicerContext[Any, Any]


class LibraryMethods(grpc.aio.ServerInterceptor):
    """Answers `MALFORMED_REQUEST` for methods of services that are not ours."""

    def __init__(self, *services: str) -> None:
        """Stand before the methods of these services; their servicers are of `grpc.aio`."""
        self._services = frozenset(services)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Parse requests in front of the method instead of inside the library."""
        handler = await continuation(handler_call_details)
        service = handler_call_details.method.lstrip("/").partition("/")[0]
        if handler is None or handler.request_deserializer is None or service not in self._services:
            return handler
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(
                _many(handler.stream_stream, handler.request_deserializer),
                request_deserializer=None,
                response_serializer=handler.response_serializer,
            )
        wrap = grpc.unary_stream_rpc_method_handler if handler.response_streaming else grpc.unary_unary_rpc_method_handler
        behaviour = handler.unary_stream if handler.response_streaming else handler.unary_unary
        return wrap(
            _one(behaviour, handler.request_deserializer),
            request_deserializer=None,
            response_serializer=handler.response_serializer,
        )


def _one(behaviour: Any, deserialize: Callable[[bytes], Any]) -> Callable[[bytes, Context], Awaitable[Any]]:  # noqa: ANN401 - the library's
    async def call(data: bytes, context: Context) -> Any:  # noqa: ANN401 - whatever the method returns
        return await behaviour(await _parsed(data, deserialize, context), context)

    return call


def _many(behaviour: Any, deserialize: Callable[[bytes], Any]) -> Callable[[AsyncIterator[bytes], Context], AsyncIterator[Any]]:  # noqa: ANN401 - the library's
    async def call(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
        async def parsed() -> AsyncIterator[Any]:
            async for data in requests:
                yield await _parsed(data, deserialize, context)

        async for response in behaviour(parsed(), context):
            yield response

    return call


async def _parsed(data: bytes, deserialize: Callable[[bytes], Any], context: Context) -> Any:  # noqa: ANN401 - a message
    try:
        return deserialize(data)
    except DecodeError:
        refusal = Refusal(RefusalKind.INVALID, "MALFORMED_REQUEST", "the bytes are no request of this method")
        await context.abort_with_status(status_of(refusal, COMMON_DOMAIN))
