"""Open calls that can be ended from outside: at a stop, and when the token of an open stream is no longer valid."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from chassis.refusal import Refusal, RefusalKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from chassis.caller import Caller
    from chassis.identity.tokens import Authenticator

log = structlog.get_logger()

_LEAST_PAUSE_SECONDS = 0.05
_RETRY_SECONDS = 1.0
_RETRY_AFTER = timedelta(seconds=1)


class OpenCall:
    """One open call. It runs in the task that creates this object."""

    def __init__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a call runs in a task")
        self._task = task
        self._cancelling = task.cancelling()
        self._refusal: Refusal | None = None

    def end(self, refusal: Refusal) -> None:
        """End the call with a refusal; called from the same event loop. The first refusal counts."""
        if self._refusal is None:
            self._refusal = refusal
            self._task.cancel()

    @contextmanager
    def endable(self) -> Iterator[None]:
        """Turn the cancellation by `end` into its refusal, as `asyncio.timeout` does with its own.

        Raises:
            Refusal: `end` was called.
        """
        try:
            yield
        except asyncio.CancelledError:
            if self._refusal is not None and self._task.uncancel() <= self._cancelling:
                raise self._refusal from None
            raise


class OpenCalls:
    """The open calls of one kind."""

    def __init__(self) -> None:
        self._calls: set[OpenCall] = set()

    @contextmanager
    def register(self) -> Iterator[OpenCall]:
        """Register the current task's call for the `with` block.

        Raises:
            Refusal: It was ended.
        """
        call = OpenCall()
        self._calls.add(call)
        try:
            with call.endable():
                yield call
        finally:
            self._calls.discard(call)

    def end_all(self, refusal: Refusal) -> None:
        """End every call with a refusal."""
        for call in list(self._calls):
            call.end(refusal)


class TokenWatch:
    """Checks the tokens of open streams again while they are open.

    Each token is checked once per cache lifetime, for any number of streams. While the store is unavailable, the last answer stays valid
    for at most `believed`.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        authenticate: Callable[[str], Awaitable[Caller | None]],
        *,
        believed: timedelta = timedelta(minutes=1),
    ) -> None:
        """Call `authenticate`, which may query the store, when the cached answer of `authenticator` is too old."""
        self._authenticator = authenticator
        self._authenticate = authenticate
        self._believed = believed.total_seconds()
        self._calls: dict[str, set[OpenCall]] = {}
        self._checks: dict[str, asyncio.Task[None]] = {}

    @contextmanager
    def watch(self, token: str, caller: Caller, call: OpenCall) -> Iterator[None]:
        """End `call` within the cache lifetime after its token no longer identifies `caller`."""
        if token not in self._calls:
            self._calls[token] = set()
            self._checks[token] = asyncio.create_task(self._check(token, caller))
        self._calls[token].add(call)
        try:
            yield
        finally:
            self._calls[token].discard(call)
            if not self._calls[token]:
                del self._calls[token]
                self._checks.pop(token).cancel()

    async def _check(self, token: str, caller: Caller) -> None:
        loop = asyncio.get_running_loop()
        checked = loop.time()
        while True:
            await asyncio.sleep(max(self._authenticator.fresh_for(token), _LEAST_PAUSE_SECONDS))
            try:
                async with asyncio.timeout_at(max(checked + self._believed, loop.time() + _RETRY_SECONDS)):
                    found = await self._authenticate(token)
            except Exception as error:  # noqa: BLE001 - any failure of the check is bounded by `believed`
                log.warning("stream_token_unchecked", error=type(error).__name__)
                if loop.time() >= checked + self._believed:
                    self._end(token, unavailable())
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            checked = loop.time()
            if found != caller:
                self._end(token, unauthenticated())

    def _end(self, token: str, refusal: Refusal) -> None:
        for call in list(self._calls.get(token, ())):
            call.end(refusal)


def unauthenticated() -> Refusal:
    """Return the refusal of a call without a valid token."""
    message = "send `authorization: Bearer <token>` with a token that is known, not expired and not revoked"
    return Refusal(RefusalKind.UNAUTHENTICATED, "UNAUTHENTICATED", message)


def unavailable() -> Refusal:
    """Return the refusal of a stream whose token cannot be checked."""
    return Refusal(RefusalKind.UNAVAILABLE, "STORE_UNAVAILABLE", "the store is out of reach; resume the stream", retry_after=_RETRY_AFTER)


def stopping() -> Refusal:
    """Return the refusal of a call that a stop of the server ends."""
    message = "the server stops before the call has ended; repeat it with the same request_id, or resume the stream"
    return Refusal(RefusalKind.UNAVAILABLE, "STOPPING", message, retry_after=_RETRY_AFTER)
