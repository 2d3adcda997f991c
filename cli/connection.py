"""Where Paidan runs, and as whom the command calls.

`paidan up` writes a connection file; the other commands read it. Against a deployment elsewhere, write such a file by hand (`tokens` holds
what `paidan token issue` printed) and name it in `PAIDAN_CONNECTION`.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from pydantic import BaseModel, ValidationError
from sqlalchemy import create_engine

from chassis.caller import Caller, Role
from chassis.identity.tokens import issue
from cli.output import CommandError
from paidan.classifier.v1.classifier_service_pb2_grpc import ClassifierServiceStub
from paidan.dispatcher.v1.dispatcher_service_pb2_grpc import DispatcherServiceStub
from paidan.intake.v1.intake_service_pb2_grpc import IntakeServiceStub
from paidan.sla.v1.sla_service_pb2_grpc import SlaServiceStub

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

VARIABLE = "PAIDAN_CONNECTION"
DEFAULT_FILE = Path(".local/connection.json")
LOCAL_PORTAL = "local"

USUAL_TIMEOUT_SECONDS = 10.0
TIMEOUT: ContextVar[float] = ContextVar("timeout", default=USUAL_TIMEOUT_SECONDS)
"""Seconds to wait for one answer: the option `--timeout`."""
_CHANNEL_OPTIONS = (
    # Keepalive detects an unreachable server within 15 s, also on a stream without a deadline.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),  # 60 s by default, which would outlast the keepalive's own timeout
    # Limits one attempt to connect. By default the library waits 20 s for a server that accepts and never answers.
    ("grpc.min_reconnect_backoff_ms", 5_000),
)
_DATABASE_TIMEOUT_SECONDS = 10
"""Longest time to connect, and for the server's machine to acknowledge what was sent."""

Metadata = tuple[tuple[str, str], ...]


class Connection(BaseModel):
    """Addresses and tokens.

    Attributes:
        intake: `host:port`, as the other three.
        classifier: The classifier's.
        dispatcher: The dispatcher's.
        sla: The SLA service's.
        kafka_bootstrap: Brokers, for commands that read topics.
        database_url: The database; with it the command makes the tokens that it lacks. None elsewhere.
        tokens: `role:subject` → bearer token.
    """

    intake: str
    classifier: str
    dispatcher: str
    sla: str
    kafka_bootstrap: str
    database_url: str | None = None
    tokens: dict[str, str] = {}

    def token(self, role: Role, subject: str) -> Metadata:
        """Return the call metadata of a caller; makes and keeps a token if this is a local run that lacks one.

        Raises:
            CommandError: There is no token of that caller, and none can be made.
        """
        key = f"{role.value}:{subject}"
        if key not in self.tokens:
            if self.database_url is None:
                raise CommandError(
                    f"no token for {key}", hint=f"paidan token issue {role.value} {subject}, then add it to the connection file"
                )
            self.tokens[key] = issue_tokens(self.database_url, [Caller(role, subject)])[0]
            self.save(connection_file())
        return bearer(self.tokens[key])

    def save(self, path: Path) -> None:
        """Write it to a file that only its owner may read."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.touch(mode=0o600)
        partial.write_text(self.model_dump_json(indent=2), encoding="utf-8")
        partial.replace(path)


def bearer(token: str) -> Metadata:
    """Return the call metadata that carries a token."""
    return (("authorization", f"Bearer {token}"),)


def database_engine(database_url: str) -> Engine:
    """Return an engine that gives up when the server does not answer."""
    limits = {"connect_timeout": _DATABASE_TIMEOUT_SECONDS, "tcp_user_timeout": _DATABASE_TIMEOUT_SECONDS * 1000}
    return create_engine(database_url, connect_args=limits)


def issue_tokens(database_url: str, callers: list[Caller], *, note: str = "local") -> list[str]:
    """Issue a token for each caller, in order."""
    engine = database_engine(database_url)
    try:
        with engine.begin() as conn:
            return [issue(conn, caller, note=note).token for caller in callers]
    finally:
        engine.dispose()


def connection_file() -> Path:
    """Return where the connection file is."""
    return Path(os.environ.get(VARIABLE, DEFAULT_FILE))


def load() -> Connection:
    """Read the connection file.

    Raises:
        CommandError: There is none, or it is malformed.
    """
    path = connection_file()
    try:
        return Connection.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CommandError(f"nothing seems to run here: there is no {path}", hint=f"start it by `paidan up`, or set {VARIABLE}") from error
    except ValidationError as error:
        raise CommandError(f"{path} is no connection file", hint=str(error)) from error


class _Deadline(grpc.UnaryUnaryClientInterceptor):
    """Sets a deadline on every unary call without one."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:  # noqa: ANN401 - the library's
        """Send the call, with a deadline."""
        details = client_call_details
        if details.timeout is None:
            details = details._replace(timeout=self._seconds)
        return continuation(details, request)


class Stubs:
    """gRPC stubs of the four services. Unary calls have a deadline; keepalive ends streams of an unreachable server."""

    def __init__(self, connection: Connection, *, timeout: float) -> None:
        """Call the services of `connection`; `timeout` in seconds is the deadline of a unary call without one of its own."""
        services = ("intake", "classifier", "dispatcher", "sla")
        self._channels = {name: grpc.insecure_channel(getattr(connection, name), options=_CHANNEL_OPTIONS) for name in services}
        channels = {name: grpc.intercept_channel(channel, _Deadline(timeout)) for name, channel in self._channels.items()}
        self.intake = IntakeServiceStub(channels["intake"])
        self.classifier = ClassifierServiceStub(channels["classifier"])
        self.dispatcher = DispatcherServiceStub(channels["dispatcher"])
        self.sla = SlaServiceStub(channels["sla"])

    def close(self) -> None:
        """Close the channels."""
        for channel in self._channels.values():
            channel.close()


@contextmanager
def connect(connection: Connection) -> Iterator[Stubs]:
    """Open stubs and close them at the end of the `with` block."""
    stubs = Stubs(connection, timeout=TIMEOUT.get())
    try:
        yield stubs
    finally:
        stubs.close()
