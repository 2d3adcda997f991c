"""PostgreSQL through SQLAlchemy Core: engine and unit of work."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar

import orjson
import psycopg
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text

from chassis import failpoint
from chassis.transient import ends_session

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from psycopg.abc import PQGen
    from sqlalchemy import URL
    from sqlalchemy.engine import ExceptionContext

    from chassis.message import OutMessage
    from chassis.outbox import Outbox

RV = TypeVar("RV")

_STATEMENT_TIMEOUT = timedelta(seconds=5)
_LOCK_TIMEOUT = timedelta(seconds=3)
_IDLE_TIMEOUT = timedelta(seconds=30)
_ANSWER_TIMEOUT = timedelta(seconds=7)
"""Longer than the statement time-out: a server that is silent for this time is unreachable or stopped."""
_WAIT_INTERVAL = 0.1
_TABLE_LOCKS = "('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')"

_IS_WRITABLE = text("SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'")
_HAS_TABLE_LOCKS = text(f"""
    SELECT EXISTS (
        SELECT FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation
        WHERE l.locktype = 'relation' AND l.mode IN {_TABLE_LOCKS} AND l.pid <> pg_backend_pid()
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND c.relnamespace = current_schema()::regnamespace
    )
""")  # noqa: S608 - a constant
_LIMIT = text("SELECT set_config('statement_timeout', :statement, true), set_config('lock_timeout', :lock, true)")


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that waits for the server for a limited time.

    The server applies `statement_timeout`, so that it has no effect when packets are lost or the server's process is suspended. The TCP
    settings of `build_engine` detect only the first case.
    """

    def wait(self, gen: PQGen[RV], interval: float = _WAIT_INTERVAL, timeout: float | None = None) -> RV:
        """Wait for the server.

        Raises:
            psycopg.OperationalError: The server did not answer in time; the connection is closed.
        """
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        limit = _ANSWER_TIMEOUT.total_seconds()
        began = time.monotonic()
        try:
            return super().wait(gen, interval, limit)
        except psycopg.OperationalError:
            if time.monotonic() - began >= limit:
                self.close()
            raise


def build_engine(url: str, *, service: str, pool_size: int = 8) -> Engine:
    """Build an engine whose connections work in the service's schema under the service's role.

    Connects lazily. Statements end after 5 s, waits for a lock after 3 s, idle transactions after 30 s. A server that does not answer
    within 7 s counts as unavailable. After an error that makes its session unusable, such as one of a database that became read-only, the
    pool closes the connection and all older ones.

    Args:
        url: PostgreSQL in SQLAlchemy's form; its user must be a member of the role `paidan_<service>`.
        service: Name of the service and of its schema.
        pool_size: Connections kept open.
    """
    options = {
        "role": f"paidan_{service}",
        "search_path": service,
        "timezone": "UTC",
        "statement_timeout": _milliseconds(_STATEMENT_TIMEOUT),
        "lock_timeout": _milliseconds(_LOCK_TIMEOUT),
        "idle_in_transaction_session_timeout": _milliseconds(_IDLE_TIMEOUT),
    }
    parsed = make_url(url)
    engine = create_engine(
        parsed,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=5,
        pool_pre_ping=False,
        pool_recycle=1800,
        hide_parameters=True,
        json_serializer=orjson.dumps,
        json_deserializer=orjson.loads,
        connect_args={
            "options": session_options(parsed, options),
            "application_name": f"paidan-{service}",
            "connect_timeout": 3,
            "tcp_user_timeout": int(_milliseconds(_ANSWER_TIMEOUT)),
            "keepalives_idle": 3,
            "keepalives_interval": 1,
            "keepalives_count": 3,
        },
    )
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "handle_error", _discard_useless_session)
    return engine


def session_options(url: URL, settings: Mapping[str, str]) -> str:
    """Return the connection parameter `options` that applies these settings to the session, in addition to those in the URL."""
    return " ".join([str(url.query.get("options", "")), *(f"-c {name}={value}" for name, value in settings.items())]).strip()


def _connect(_dialect: object, _record: object, arguments: Any, options: Any) -> BoundedConnection:  # noqa: ANN401 - as of the event
    return BoundedConnection.connect(*arguments, **options)


def _discard_useless_session(context: ExceptionContext) -> None:
    if ends_session(context.original_exception):
        context.is_disconnect = True


def _milliseconds(duration: timedelta) -> str:
    return str(round(duration.total_seconds() * 1000))


def limit_statements(conn: Connection, limit: timedelta) -> None:
    """Set the statement time-out of the current transaction to `limit`, and its lock time-out to 90 % of it."""
    conn.execute(_LIMIT, {"statement": _milliseconds(limit), "lock": _milliseconds(limit * 0.9)})


def is_writable(conn: Connection) -> bool:
    """Return whether transactions of this connection may write: the server is a primary and not read-only."""
    return bool(conn.scalar(_IS_WRITABLE))


def is_healthy(conn: Connection) -> bool:
    """Return whether the database accepts writes and no other session holds or awaits a lock on a whole table of the current schema.

    If a statement times out nevertheless, the cause is the rows that it processes.
    """
    return is_writable(conn) and not conn.scalar(_HAS_TABLE_LOCKS)


class SqlUnitOfWork:
    """One transaction with the messages that it publishes. Rolls back on leaving unless `commit` was called.

    with uow:
        handler(uow, command)
        uow.commit()
    """

    def __init__(self, engine: Engine, outbox: Outbox) -> None:
        self._engine = engine
        self._outbox = outbox
        self._connection: Connection | None = None
        self._messages: list[OutMessage] = []

    def __enter__(self) -> Self:
        """Open the transaction."""
        self._connection = self._engine.connect()
        self._messages = []
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Roll back what was not committed and give the connection back."""
        connection, self._connection = self.connection, None
        connection.close()

    @property
    def connection(self) -> Connection:
        """The open transaction's connection.

        Raises:
            RuntimeError: The unit of work is not open.
        """
        if self._connection is None:
            message = "the unit of work is not open: use it in a with statement"
            raise RuntimeError(message)
        return self._connection

    def publish(self, message: OutMessage) -> None:
        """Publish a message if and only if the transaction commits.

        Lock the row that it tells of first: the order of `publish` under that lock is the order on the topic.
        """
        self._messages.append(message)

    def flush(self) -> None:
        """Write what repositories hold back. Subclasses extend it and call it last."""
        self._outbox.append(self.connection, self._messages)

    def commit(self) -> None:
        """Write everything, commit, and wake the relay."""
        self.flush()
        failpoint.reach("transaction.before_commit")
        self.connection.commit()
        failpoint.reach("transaction.after_commit")
        published, self._messages = bool(self._messages), []
        if published:
            self._outbox.wake()
