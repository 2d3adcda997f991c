"""`paidan up` as a process of its own: it keeps all parts running, and refuses to start where another runs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from sqlalchemy import make_url

from cli.connection import VARIABLE, Connection
from tests.support.requests import PLANNING
from tests.support.waiting import eventually
from tests.system.test_cli import Paidan

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

_ROOT = Path(__file__).parents[2]
_COMMAND = [sys.executable, "-c", "import cli.main; cli.main.main()"]


class Up:
    """A run of `paidan up`."""

    def __init__(self, data_dir: Path) -> None:
        self.connection_file = data_dir.parent / "connection.json"
        self._output = data_dir.with_suffix(".output")
        environment = {name: value for name, value in os.environ.items() if name not in {"KAFKA_BOOTSTRAP", "DATABASE_URL"}}
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [*_COMMAND, "up", "--free-ports", "--data-dir", str(data_dir)],
                cwd=_ROOT,
                env={**environment, VARIABLE: str(self.connection_file), "COLUMNS": "400"},
                stdout=output,
                stderr=output,
            )

    def said(self) -> str:
        return self._output.read_text(encoding="utf-8")

    def connection(self) -> Connection:
        def written() -> Connection | None:
            assert self.process.poll() is None, self.said()
            return Connection.model_validate_json(self.connection_file.read_text()) if self.connection_file.exists() else None

        return eventually(written, "connection file")

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@contextmanager
def running(data_dir: Path) -> Iterator[Up]:
    up = Up(data_dir)
    try:
        yield up
    finally:
        if up.process.poll() is None:
            up.process.kill()
            up.process.wait()


def _listener(port: int) -> psutil.Process:
    """Return the process that listens on a port."""
    found = [each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN and each.laddr.port == port]
    assert found, f"nobody listens on {port}"
    return psutil.Process(found[0].pid)


def test_kafka_postgresql_and_a_service_come_back_after_sigkill_and_nothing_is_left_after_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path / "data") as up:
        connection = up.connection()
        monkeypatch.setenv(VARIABLE, str(up.connection_file))
        ports = {
            "kafka": int(connection.kafka_bootstrap.rpartition(":")[2]),
            "postgres": make_url(str(connection.database_url)).port or 0,
            "dispatcher": int(connection.dispatcher.rpartition(":")[2]),
        }
        victims = {name: _listener(port) for name, port in ports.items()}

        for victim in victims.values():
            victim.kill()
        eventually(lambda: all(f"{name} is ready again" in up.said() for name in ports), up.said)

        paidan = Paidan()
        assert paidan.dispatched(paidan.submit(PLANNING))["leadUnit"]
        assert all(f"{name} was ended by SIGKILL: starting it again" in up.said() for name in ports)
        assert {_listener(port).pid for port in ports.values()}.isdisjoint(victim.pid for victim in victims.values())
        children = psutil.Process(up.process.pid).children(recursive=True)
        assert up.interrupt() == 130
        _, left = psutil.wait_procs(children, timeout=5)
        assert left == []
        assert not up.connection_file.exists()


def test_a_taken_port_is_reported_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        program = (
            "import cli.up, cli.main, sys\n"
            f"cli.up.PORTS = cli.up.PORTS | {{'sla': ({port}, *cli.up.PORTS['sla'][1:])}}\n"
            f"sys.argv = ['paidan', 'up', '--data-dir', {str(tmp_path / 'data')!r}]\n"
            "cli.main.main()"
        )
        environment = {**os.environ, VARIABLE: str(tmp_path / "connection.json"), "COLUMNS": "400"}

        done = subprocess.run([sys.executable, "-c", program], cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert f"port {port} (sla, RPCs) is taken by process {os.getpid()} (" in done.stderr
    assert "nothing was started" in done.stderr
    assert "paidan up --free-ports" in done.stderr
    assert done.stdout == ""
    assert not any((tmp_path / "data").glob("*/")), "only the lock file may be there"


def test_a_second_run_with_the_same_connection_file_names_the_first_and_leaves_it_alone(tmp_path: Path) -> None:
    with running(tmp_path / "first") as first:
        eventually(lambda: (tmp_path / ".connection.json.lock").exists(), "lock")

        with running(tmp_path / "second") as second:
            code = second.process.wait(60)
            said = second.said()

        assert code == 1
        assert f"another `paidan up` runs as process {first.process.pid}; it owns {first.connection_file}" in said
        assert first.process.poll() is None
        assert first.interrupt() == 130
