"""Both parts together: whatever ends the run, nothing stays behind, and the next run finds the data."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from deploy.local.errors import InUseError, LocalPartError
from deploy.local.kafka import LocalKafka
from deploy.local.parts import LocalParts, open_parts
from deploy.local.postgres import LocalPostgres

ProcessesIn = Callable[[Path], list[str]]

_RUN = """
import os, signal, sys, time
from pathlib import Path
import psycopg
from deploy.local.parts import open_parts

def tell(line):
    print(line, flush=True)

def leave(*_):
    raise SystemExit(9)

signal.signal(signal.SIGTERM, leave)
# Who runs the tests in the background of a shell has SIGINT ignored, and so would this program.
signal.signal(signal.SIGINT, signal.default_int_handler)
with open_parts(Path(sys.argv[1]), on_progress=tell) as parts:
    with psycopg.connect(parts.database_url.replace("+psycopg", "")) as connection:
        connection.execute("CREATE TABLE first_run (n int)")
    tell("open")
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _no_servers_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP", raising=False)
    monkeypatch.delenv("DATABASE_URL", raising=False)


def _run_until(line: str, data_dir: Path) -> subprocess.Popen[str]:
    run = subprocess.Popen([sys.executable, "-c", _RUN, str(data_dir)], stdout=subprocess.PIPE, text=True, process_group=0)
    assert run.stdout is not None
    for said in run.stdout:
        if line in said:
            break
    return run


def _all_gone(processes_in: ProcessesIn, directory: Path, *, within_seconds: float) -> bool:
    deadline = time.monotonic() + within_seconds
    while processes_in(directory):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_killed_run_leaves_no_process_and_the_next_run_finds_its_data(tmp_path: Path, processes_in: ProcessesIn) -> None:
    with _run_until("open", tmp_path) as run:
        assert any("kafka.Kafka" in process for process in processes_in(tmp_path))
        assert any("postgres" in process for process in processes_in(tmp_path))

        run.kill()

    with open_parts(tmp_path, on_progress=lambda _line: None) as parts:
        assert parts.kafka is not None
        assert parts.kafka_bootstrap == parts.kafka.bootstrap
        with psycopg.connect(parts.database_url.replace("+psycopg", "")) as connection:
            assert connection.execute("SELECT count(*) FROM first_run").fetchone() == (0,)
        with pytest.raises(InUseError) as caught, open_parts(tmp_path, on_progress=lambda _line: None):
            pass
        assert caught.value.directory == tmp_path
        assert caught.value.holder == str(os.getpid())
    assert _all_gone(processes_in, tmp_path, within_seconds=0)


def test_nothing_is_left_of_a_killed_run_that_nobody_follows(tmp_path: Path, processes_in: ProcessesIn) -> None:
    with _run_until("postgres is ready", tmp_path) as run:
        run.kill()

    assert _all_gone(processes_in, tmp_path, within_seconds=3)


@pytest.mark.parametrize(
    ("number", "moment", "code"),
    [(signal.SIGINT, "postgres is ready", -signal.SIGINT), (signal.SIGTERM, "open", 9)],
    ids=["interrupted-while-starting", "terminated-while-open"],
)
def test_a_run_that_is_asked_to_end_stops_everything_first(
    tmp_path: Path, processes_in: ProcessesIn, number: int, moment: str, code: int
) -> None:
    with _run_until(moment, tmp_path) as run:
        run.send_signal(number)

        assert run.wait(timeout=20) == code

    assert _all_gone(processes_in, tmp_path, within_seconds=0)


def test_a_part_that_cannot_start_takes_the_other_one_down(tmp_path: Path, processes_in: ProcessesIn) -> None:
    broken = tmp_path / "postgres" / "data"
    broken.mkdir(parents=True, mode=0o700)
    (broken.parent / "password").write_text("unused")

    with pytest.raises(LocalPartError) as caught, open_parts(tmp_path, on_progress=lambda _line: None):
        pytest.fail("opened")

    assert caught.value.part == "postgres"
    assert _all_gone(processes_in, tmp_path, within_seconds=0)


def test_servers_that_the_environment_names_are_used_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kafka: LocalKafka, postgres: LocalPostgres, processes_in: ProcessesIn
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP", kafka.bootstrap)
    monkeypatch.setenv("DATABASE_URL", postgres.url)

    with open_parts(tmp_path, on_progress=pytest.fail) as parts:
        assert parts == LocalParts(kafka.bootstrap, postgres.url, kafka=None, postgres=None)
        assert processes_in(tmp_path) == []

    assert kafka.alive
    assert postgres.alive
