"""What the command prints: text for people, JSON for scripts, and errors that say what to do."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import grpc
import typer
from google.protobuf import json_format
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message
    from google.protobuf.timestamp_pb2 import Timestamp

ZONE = ZoneInfo("Asia/Shanghai")

console = Console(highlight=False, soft_wrap=False)
error_console = Console(stderr=True, highlight=False)

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line, for scripts.")]


class CommandError(Exception):
    """The command cannot do what was asked.

    Attributes:
        hint: What to do about it; may be empty.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def print_json(message: Message | dict[str, Any]) -> None:
    """Print one object on one line."""
    content = message if isinstance(message, dict) else json_format.MessageToDict(message)
    sys.stdout.write(json.dumps(content, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def local_time(timestamp: Timestamp | None) -> str:
    """Return an instant as people in Chongqing write it, or a dash."""
    if timestamp is None or (timestamp.seconds == 0 and timestamp.nanos == 0):
        return "–"
    return datetime.fromtimestamp(timestamp.seconds, ZONE).strftime("%m-%d %H:%M")


def enum_word(name: str, prefix: str) -> str:
    """Return the name of an enum's value without its prefix, in small letters."""
    return name.removeprefix(prefix).lower()


@contextmanager
def errors_shown() -> Iterator[None]:
    """Turn refusals and failures into a message and exit code 1."""
    try:
        yield
    except CommandError as error:
        fail(str(error), error.hint)
    except grpc.RpcError as error:
        fail(*explain(error))


def fail(message: str, hint: str = "") -> None:
    """Print an error and end with code 1."""
    error_console.print(f"[bold red]错误 error[/]: {escape(message)}", markup=True)
    if hint:
        error_console.print(f"  {hint}", markup=False)
    raise typer.Exit(1)


def explain(error: grpc.RpcError) -> tuple[str, str]:
    """Return what a refused call says: a message, and a hint with the reason, the fields and when to come back."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # every error of a call is a Call
    if error.code() is grpc.StatusCode.UNAVAILABLE and status is None:
        return "the service does not answer", "is `paidan up` running? Its addresses are in the connection file."
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and status is None:
        return (
            "the service did not answer in time",
            "whether the call had an effect is unknown; repeat it with the same --request-id. `paidan --timeout SECONDS …` waits longer.",
        )
    if status is None:
        return f"{error.code().name}: {error.details()}", ""
    lines = []
    for detail in status.details:
        info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            lines.append(f"reason: {info.reason} ({info.domain})")
        elif detail.Unpack(bad):
            lines.extend(f"{violation.field}: {violation.description}" for violation in bad.field_violations)
        elif detail.Unpack(retry):
            lines.append(f"try again in {retry.retry_delay.ToTimedelta().total_seconds():g} s")
    return status.message, "\n  ".join(lines)
