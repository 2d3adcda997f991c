"""What the producer and the consumer have in common."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from kafka.errors import KafkaTimeoutError
from kafka.net.compat import KafkaNetClient

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

METADATA_TIMEOUT = timedelta(seconds=3)
REQUEST_TIMEOUT = timedelta(seconds=8)
_CONNECT_TIMEOUT = timedelta(seconds=3)


def milliseconds(duration: timedelta) -> int:
    """Return a duration as the client wants it."""
    return int(duration / timedelta(milliseconds=1))


CLIENT_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        # The protocol is pinned so that clients can be built while the brokers are away.
        "api_version": (2, 6),
        "request_timeout_ms": milliseconds(REQUEST_TIMEOUT),
        "reconnect_backoff_max_ms": 1000,
        # By default an attempt to connect takes up to 10 s, and 30 s after failures: too long after the network recovers. The library's
        # client takes these settings, but its producer and consumer do not pass them on.
        "kafka_client": partial(
            KafkaNetClient,
            socket_connection_setup_timeout_ms=milliseconds(_CONNECT_TIMEOUT),
            socket_connection_setup_timeout_max_ms=milliseconds(_CONNECT_TIMEOUT),
        ),
        "allow_auto_create_topics": False,
        "metrics_enabled": False,
    },
)
"""Options of every client."""


def call_within(limit: timedelta, call: Callable[[], T]) -> T:
    """Return the result of a client call within a time limit.

    Calls of the admin client take no time-out. A call that hangs continues in a daemon thread until the process ends.

    Raises:
        KafkaTimeoutError: The call took longer than `limit`.
        Exception: What the call raised.
    """
    answer: Future[T] = Future()

    def work() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised again where the answer is awaited
            answer.set_exception(error)

    threading.Thread(target=work, name="kafka-call", daemon=True).start()
    try:
        return answer.result(limit.total_seconds())
    except TimeoutError as error:
        if answer.done():
            raise
        raise KafkaTimeoutError from error
