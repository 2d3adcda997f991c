"""The database server: durable, closed to strangers, and back after any death."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text

from deploy.local.errors import LocalPartError, MissingToolError
from deploy.local.postgres import LocalPostgres


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPostgres]:
    """A server that these tests may kill."""
    with LocalPostgres(tmp_path_factory.mktemp("mortal")) as server:
        yield server


def _connect(server: LocalPostgres) -> psycopg.Connection:
    return psycopg.connect(server.url.replace("+psycopg", ""), autocommit=True)


def test_the_url_is_sqlalchemys_and_leads_to_a_database_of_our_own(postgres: LocalPostgres) -> None:
    engine = create_engine(postgres.url)

    with engine.connect() as connection:
        found = connection.execute(text("SELECT current_database(), current_user")).one()

    engine.dispose()
    assert found == ("paidan", "paidan")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("data_checksums", "on"),
        ("timezone", "UTC"),
        ("server_encoding", "UTF8"),
        ("max_connections", "200"),
        ("listen_addresses", "127.0.0.1"),
        ("password_encryption", "scram-sha-256"),
    ],
)
def test_the_settings_that_promises_rest_on_are_in_force(postgres: LocalPostgres, setting: str, value: str) -> None:
    with _connect(postgres) as connection:
        assert connection.execute("SELECT current_setting(%s)", [setting]).fetchone() == (value,)


def test_it_is_postgresql_18_with_unicode_rules_that_no_operating_system_changes(postgres: LocalPostgres) -> None:
    with _connect(postgres) as connection:
        assert connection.info.server_version // 10_000 == 18
        found = connection.execute(
            "SELECT datlocprovider, datlocale, lower('ÄÖ') FROM pg_database WHERE datname = current_database()"
        ).fetchone()

    assert found == ("b", "C.UTF-8", "äö")


def test_nobody_gets_in_without_the_password(postgres: LocalPostgres) -> None:
    url = make_url(postgres.url).set(drivername="postgresql", password="guess")  # noqa: S106 - a wrong one on purpose

    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url.render_as_string(hide_password=False))

    assert (postgres.data_dir / "password").stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")
def test_started_by_root_the_server_is_not_root(postgres: LocalPostgres) -> None:
    status = Path(f"/proc/{postgres.process.pid}/status").read_text()

    uids = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
    assert "0" not in uids
    assert "NoNewPrivs:\t1" in status


def test_committed_rows_survive_a_kill_while_sessions_are_busy(server: LocalPostgres) -> None:
    address = server.url
    with _connect(server) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept SELECT generate_series(1, 1000)")
    sessions = [_connect(server) for _ in range(3)]
    busy = [threading.Thread(target=_compute_until_cut_off, args=[session]) for session in sessions]
    for thread in busy:
        thread.start()
    _wait_for_busy_sessions(server, len(busy))

    server.kill()
    assert server.process.returncode == -signal.SIGKILL
    server.start()

    for thread in busy:
        thread.join()
    assert server.url == address
    with _connect(server) as connection:
        assert connection.execute("SELECT count(*), max(n) FROM kept").fetchone() == (1000, 1000)


def _compute_until_cut_off(session: psycopg.Connection) -> None:
    """Keep a backend computing, so that it notices the death of its server late."""
    with pytest.raises(psycopg.OperationalError):
        session.execute("/* busy */ SELECT count(*), pg_sleep(60) FROM generate_series(1, 5000000)")
    session.close()


def _wait_for_busy_sessions(server: LocalPostgres, count: int) -> None:
    with _connect(server) as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '/* busy */%'"
        while connection.execute(query).fetchone() != (count,):
            time.sleep(0.01)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_server_dies_with_its_guard(server: LocalPostgres) -> None:
    status = Path(f"/proc/{server.process.pid}/status")
    guard = next(line for line in status.read_text().splitlines() if line.startswith("PPid:")).split()[1]

    os.kill(int(guard), signal.SIGKILL)

    deadline = time.monotonic() + 5
    while not _gone(status):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    server.start()


def _gone(status: Path) -> bool:
    try:
        return "zombie" in status.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_stop_ends_open_sessions_and_shuts_down_in_order(server: LocalPostgres) -> None:
    connection = _connect(server)

    server.stop()

    assert server.process.returncode == 0
    assert "database system is shut down" in server.process.tail()
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    connection.close()
    server.start()


def test_a_stale_process_id_that_now_belongs_to_somebody_else_does_not_keep_it_from_starting(
    server: LocalPostgres, postgres: LocalPostgres
) -> None:
    stranger = postgres.process.pid
    server.kill()
    pid_file = server.data_dir / "data" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(stranger), *lines[1:]]) + "\n")

    server.start()

    with _connect(server) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_two_servers_run_side_by_side(postgres: LocalPostgres, server: LocalPostgres) -> None:
    assert postgres.port != server.port
    with _connect(postgres) as one, _connect(server) as other:
        query = "SELECT system_identifier FROM pg_control_system()"
        assert one.execute(query).fetchone() != other.execute(query).fetchone()


def test_a_first_start_that_was_cut_short_is_begun_anew(tmp_path: Path) -> None:
    half = tmp_path / "data.unfinished"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")

    with LocalPostgres(tmp_path) as server, _connect(server) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_data_that_are_no_cluster_show_the_servers_own_words(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "password").write_text("unused")
    server = LocalPostgres(tmp_path)

    with pytest.raises((LocalPartError, MissingToolError)) as caught:
        server.start()

    assert "before there was answer to SELECT 1" in caught.value.problem
    assert not server.alive
