"""The command never hangs: for any behaviour of a server, each call ends with an error message and exit code 1."""

from __future__ import annotations

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass
from typer.testing import CliRunner

from cli import connection as cli_connection
from cli.connection import Connection, Stubs
from cli.main import app
from tests.support.contracts import METHODS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from google.protobuf.descriptor import MethodDescriptor

UNARY = [
    ["submit", "停电", "--uscc", "91350100M000100Y43"],
    ["ticket", "show", "T"],
    ["ticket", "list"],
    ["ticket", "supplement", "T", "合同"],
    ["ticket", "withdraw", "T"],
    ["ticket", "rate", "T", "5"],
    ["ticket", "reopen", "T", "又停电"],
    ["unit", "list", "jtysw"],
    ["unit", "accept", "jtysw", "T", "--epoch", "1"],
    ["unit", "accept", "jtysw", "T"],
    ["unit", "return", "jtysw", "T", "--reason", "duplicate", "--epoch", "1"],
    ["unit", "supplement", "jtysw", "T", "请补充", "--epoch", "1"],
    ["unit", "extend", "jtysw", "T", "2", "踏勘", "--epoch", "1"],
    ["unit", "progress", "jtysw", "T", "已受理", "--epoch", "1"],
    ["unit", "resolve", "jtysw", "T", "已办", "--epoch", "1"],
    ["unit", "contact", "jtysw", "T"],
    ["triage", "list"],
    ["triage", "decide", "T", "--unit", "jtysw"],
    ["triage", "decide", "T", "--decline", "不属本市", "--channel", "12345"],
    ["triage", "transfer", "T", "jtysw", "转办", "--epoch", "1"],
    ["triage", "extension", "T", "--grant"],
]
_EMPTY_SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_SETTINGS_ACK = bytes([0, 0, 0, 4, 1, 0, 0, 0, 0])


@contextmanager
def silent_server(*, greeting: bytes = b"") -> Iterator[str]:
    """Accept connections, send a greeting, and never answer anything."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        kept: list[socket.socket] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    kept.append(listening.accept()[0])
                    kept[-1].sendall(greeting)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for each in kept:
                each.close()


@pytest.fixture
def point_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that sets the address of all services."""

    def point(address: str) -> None:
        file = tmp_path / "connection.json"
        tokens = {"portal:local": "t", "unit:jtysw": "t", "desk:municipal": "t"}
        addresses = dict.fromkeys(("intake", "classifier", "dispatcher", "sla", "kafka_bootstrap"), address)
        file.write_text(json.dumps({**addresses, "tokens": tokens}), encoding="utf-8")
        monkeypatch.setenv("PAIDAN_CONNECTION", str(file))

    return point


@pytest.mark.parametrize("command", UNARY, ids=" ".join)
def test_a_command_whose_server_never_answers_ends_with_a_sentence_and_code_1(command: list[str], point_at: Any) -> None:
    with silent_server() as address:
        point_at(address)
        begun = time.monotonic()

        said = CliRunner().invoke(app, ["--timeout", "0.3", *command])
        took = time.monotonic() - begun

    assert said.exit_code == 1, said.output
    assert "the service did not answer in time" in " ".join(said.output.split())
    assert took < 5


@pytest.mark.parametrize("command", [["token", "list"], ["token", "issue", "desk", "municipal"], ["token", "revoke", "1"]], ids=" ".join)
def test_a_command_whose_database_never_answers_ends_with_a_sentence_and_code_1(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAIDAN_CONNECTION", str(tmp_path / "absent.json"))
    monkeypatch.setattr(cli_connection, "_DATABASE_TIMEOUT_SECONDS", 2)
    with silent_server() as address:
        monkeypatch.setenv("DATABASE_URL", f"postgresql+psycopg://paidan@{address}/paidan")
        begun = time.monotonic()

        said = CliRunner().invoke(app, command)
        took = time.monotonic() - begun

    assert said.exit_code == 1, said.output
    assert "the database does not answer" in " ".join(said.output.split())
    assert took < 6


def test_a_watch_whose_server_never_answers_ends_with_a_sentence_and_code_1(point_at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_connection, "_CHANNEL_OPTIONS", (("grpc.min_reconnect_backoff_ms", 500),))
    with silent_server() as address:
        point_at(address)

        said = CliRunner().invoke(app, ["ticket", "watch", "T"])

    assert said.exit_code == 1
    assert "the service does not answer" in " ".join(said.output.split())


def test_a_watch_whose_server_falls_silent_notices_it_by_keepalive(point_at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [name for name, _ in cli_connection._CHANNEL_OPTIONS]
    faster = tuple((name, value // 10) for name, value in cli_connection._CHANNEL_OPTIONS)
    monkeypatch.setattr(cli_connection, "_CHANNEL_OPTIONS", faster)
    with silent_server(greeting=_EMPTY_SETTINGS + _SETTINGS_ACK) as address:
        point_at(address)
        begun = time.monotonic()

        said = CliRunner().invoke(app, ["ticket", "watch", "T"])
        took = time.monotonic() - begun

    assert said.exit_code == 1
    assert "grpc.keepalive_time_ms" in names
    assert 1 < took < 10


class Deadlines(grpc.GenericRpcHandler):
    """Answers no method, and keeps how long each caller waits."""

    def __init__(self) -> None:
        self.seen: list[float | None] = []

    def service(self, handler_call_details: Any) -> Any:
        def answer(_request: bytes, context: grpc.ServicerContext) -> bytes:
            self.seen.append(context.time_remaining())
            context.abort(grpc.StatusCode.NOT_FOUND, "nothing")
            raise AssertionError

        if handler_call_details.method.endswith("WatchTicket"):
            return grpc.unary_stream_rpc_method_handler(answer)
        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.mark.parametrize(("name", "method"), METHODS, ids=lambda value: getattr(value, "name", value))
def test_every_unary_call_of_every_stub_has_a_deadline_and_a_stream_has_none(name: str, method: MethodDescriptor) -> None:
    deadlines = Deadlines()
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((deadlines,))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    stubs = Stubs(Connection(intake=address, classifier=address, dispatcher=address, sla=address, kafka_bootstrap=""), timeout=7)
    try:
        call = getattr(getattr(stubs, name), method.name)
        with pytest.raises(grpc.RpcError):
            list(call(GetMessageClass(method.input_type)()))
        if not method.server_streaming:
            with pytest.raises(grpc.RpcError):
                call(GetMessageClass(method.input_type)(), timeout=3)
    finally:
        stubs.close()
        server.stop(0).wait()

    if method.server_streaming:
        assert deadlines.seen[0] is None or deadlines.seen[0] > 1e9
    else:
        usual, own = deadlines.seen
        assert usual is not None
        assert own is not None
        assert own < 4 < usual < 8
