"""The HTTP side of a language model: one POST to an OpenAI-compatible endpoint, and a wary reading of what comes back.

Source of the protocol: https://platform.openai.com/docs/api-reference/chat/create. Nothing but the answer of this very address is read:
redirects are not followed, proxies of the environment not asked, bodies bounded, and the deadline holds for the whole exchange, so that an
endpoint that sends a byte now and then is late like any other.
"""

from __future__ import annotations

import io
import json
import ssl
import time
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from _typeshed import WriteableBuffer

_MOST_BYTES = 64 * 1024
_MOST_TOKENS_COUNTED = 1_000_000


class Failure(StrEnum):
    """Why there is no answer."""

    TIMED_OUT = "timed_out"
    UNREACHABLE = "unreachable"
    THROTTLED = "throttled"
    HTTP_ERROR = "http_error"
    REDIRECTED = "redirected"
    TOO_LARGE = "too_large"
    MALFORMED = "malformed"


class EndpointError(Exception):
    """The endpoint gave no answer.

    Attributes:
        failure: Why.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.value)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer.

    Attributes:
        content: What the language model said.
        prompt_tokens: Tokens that the endpoint counted in the question; 0 if it does not say.
        completion_tokens: Tokens that it counted in the answer; 0 if it does not say.
    """

    content: str
    prompt_tokens: int
    completion_tokens: int


class ChatEndpoint:
    """Where a language model is asked. Safe for many threads: each exchange has a connection of its own."""

    def __init__(self, base_url: str, *, model: str, key: str | None, most_tokens: int) -> None:
        """Know the endpoint; reaches for nothing yet.

        Args:
            base_url: `http` or `https`, without the `/chat/completions` that is put behind it.
            model: The language model's name there.
            key: Bearer token; None if none is needed.
            most_tokens: Longest answer that is asked for.

        Raises:
            ValueError: The address or the key cannot be used; the key is not repeated.
        """
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query or parts.fragment:
            raise ValueError("the language model's address must be http(s)://host[:port][/path], without user name, query and fragment")
        if key is not None and not (key.isascii() and key.isprintable()):
            raise ValueError("the language model's key holds characters that no header may hold")
        parts.hostname.encode("idna")
        self._host, self._port = parts.hostname, parts.port
        self._path = f"{parts.path.rstrip('/')}/chat/completions"
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._headers = {"Content-Type": "application/json", **({} if key is None else {"Authorization": f"Bearer {key}"})}
        self._model = model
        self._most_tokens = most_tokens

    def complete(self, system: str, user: str, *, deadline: float) -> Completion:
        """Ask, and return the answer.

        Args:
            system: What the language model is to do.
            user: What it is asked about.
            deadline: By `time.monotonic`; then the exchange is given up.

        Raises:
            EndpointError: There is none.
        """
        question = {
            "model": self._model,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
            "temperature": 0,
            "max_tokens": self._most_tokens,
            "response_format": {"type": "json_object"},
        }
        connection = self._connection(deadline)
        try:
            connection.request("POST", self._path, json.dumps(question).encode(), self._headers)
            with connection.getresponse() as response:
                _check_status(response.status)
                body = response.read(_MOST_BYTES + 1)
        except TimeoutError as error:
            raise EndpointError(Failure.TIMED_OUT) from error
        except HTTPException as error:
            raise EndpointError(Failure.MALFORMED) from error
        except OSError as error:
            raise EndpointError(Failure.UNREACHABLE) from error
        finally:
            connection.close()
        if len(body) > _MOST_BYTES:
            raise EndpointError(Failure.TOO_LARGE)
        return _completion(body)

    def _connection(self, deadline: float) -> HTTPConnection:
        seconds = _left(deadline)
        connection = (
            HTTPConnection(self._host, self._port, timeout=seconds)
            if self._tls is None
            else HTTPSConnection(self._host, self._port, timeout=seconds, context=self._tls)
        )
        connection.response_class = partial(_Response, deadline=deadline)  # type: ignore[assignment]  # called like the class
        return connection


class _Response(HTTPResponse):
    """A response whose every read ends at the deadline."""

    def __init__(self, sock: socket.socket, *args: Any, deadline: float, **kwargs: Any) -> None:  # noqa: ANN401 - handed on as they are
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self.fp = io.BufferedReader(_Timed(sock, deadline))


class _Timed(io.RawIOBase):
    """What a socket receives until the deadline. A time-out of the socket alone starts anew with each byte."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._socket = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        self._socket.settimeout(_left(self._deadline))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise EndpointError(Failure.TIMED_OUT)
    return left


def _check_status(status: int) -> None:
    match status:
        case HTTPStatus.OK:
            return
        case HTTPStatus.TOO_MANY_REQUESTS:
            raise EndpointError(Failure.THROTTLED)
        case _ if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            raise EndpointError(Failure.REDIRECTED)
        case _:
            raise EndpointError(Failure.HTTP_ERROR)


def _completion(body: bytes) -> Completion:
    try:
        answer = json.loads(body.decode())
        content = answer["choices"][0]["message"]["content"]
        usage = answer.get("usage") or {}
        tokens = [_count(usage, name) for name in ("prompt_tokens", "completion_tokens")]
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise EndpointError(Failure.MALFORMED) from error
    if not isinstance(content, str):
        raise EndpointError(Failure.MALFORMED)
    return Completion(content, *tokens)


def _count(usage: Mapping[str, Any], name: str) -> int:
    counted = usage.get(name)
    return counted if isinstance(counted, int) and 0 <= counted <= _MOST_TOKENS_COUNTED else 0
