"""PostgreSQL through SQLAlchemy Core: engine and unit of work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import orjson
from sqlalchemy import Connection, Engine, create_engine, make_url

from chassis import failpoint

if TYPE_CHECKING:
    from types import TracebackType

    from chassis.message import OutMessage
    from chassis.outbox import Outbox


def build_engine(url: str, *, service: str, pool_size: int = 8) -> Engine:
    """Build an engine whose connections work in the service's schema under the service's role.

    Connects lazily. Statements end after 10 s, idle transactions after 30 s, waits for a lock after 5 s, so that no fault holds others up.

    Args:
        url: PostgreSQL in SQLAlchemy's form; its user must be a member of the role `paidan_<service>`.
        service: Name of the service and of its schema.
        pool_size: Connections kept open.
    """
    options = {
        "role": f"paidan_{service}",
        "search_path": service,
        "timezone": "UTC",
        "statement_timeout": "10s",
        "lock_timeout": "5s",
        "idle_in_transaction_session_timeout": "30s",
    }
    parsed = make_url(url)
    extra = parsed.query.get("options", "")
    joined = " ".join([str(extra), *(f"-c {name}={value}" for name, value in options.items())]).strip()
    return create_engine(
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
            "options": joined,
            "application_name": f"paidan-{service}",
            "connect_timeout": 3,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
        },
    )


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
