"""A separate PostgreSQL server for a test, and its faults."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from deploy.local.postgres import LocalPostgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from tests.support.tcp_proxy import TcpProxy

_PATIENCE_SECONDS = 10


@contextmanager
def own_server(directory: Path) -> Iterator[LocalPostgres]:
    """Start a server that no other test uses, and stop it at the end."""
    with LocalPostgres(directory) as server:
        yield server


def through(proxy: TcpProxy, url: str) -> str:
    """Return the URL by which a database is reached through a proxy."""
    return make_url(url).set(port=proxy.port).render_as_string(hide_password=False)


@contextmanager
def read_only(url: str) -> Iterator[None]:
    """Switch a server to read-only for a block, as a switch-over does: sessions that are open change too."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    _switch(engine, "on")
    try:
        yield
    finally:
        _switch(engine, "off")


def _switch(engine: Engine, value: str) -> None:
    with engine.connect() as conn:
        conn.execute(text("SET default_transaction_read_only = off"))
        conn.execute(text(f"ALTER SYSTEM SET default_transaction_read_only = {value}"))
        conn.execute(text("SELECT pg_reload_conf()"))
    end = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < end:
        with engine.connect() as conn:
            if conn.scalar(text("SHOW default_transaction_read_only")) == value:
                return
        time.sleep(0.02)
    message = f"the server did not become read-only = {value}"
    raise AssertionError(message)


@contextmanager
def suspended_backends(url: str) -> Iterator[None]:
    """Suspend the processes of all open sessions of a database for a block: their sockets stay open, without a response."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as conn:
        found = conn.execute(
            text("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"),
        ).scalars()
        processes = list(found)
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)
