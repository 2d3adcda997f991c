"""Database errors that pass by themselves: one definition for sinks, timers, the relay, RPCs and watches.

The SQLSTATE decides, since drivers map some of these states to exception types that say nothing about a retry: a database that turned
read-only in a switch-over raises `InternalError`, for example.
Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

READ_ONLY = "25006"
"""read_only_sql_transaction: the server is a standby, or was switched to read-only."""
STATEMENT_TIMEOUT = "57014"
"""query_canceled: the statement ran into `statement_timeout`, or somebody cancelled it."""

_TRANSIENT_CLASSES = frozenset(
    {
        "08",  # connection exception
        "40",  # transaction rollback: serialization failure, deadlock
        "53",  # insufficient resources: disk full, out of memory, too many connections
        "57",  # operator intervention: shutdown, crash recovery, cancelled statement
        "58",  # system error outside PostgreSQL, such as a failed read or write
    },
)
_TRANSIENT_STATES = frozenset(
    {
        READ_ONLY,
        "25P03",  # idle_in_transaction_session_timeout
        "25P04",  # transaction_timeout
        "55P03",  # lock_not_available: `lock_timeout`
    },
)
_PERMANENT_STATES = frozenset(
    {
        "57P04",  # database_dropped
    },
)


def sqlstate_of(error: BaseException) -> str | None:
    """Return the SQLSTATE of a database error; None for other errors and for errors that the server did not report."""
    state: str | None = getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None)
    return state


def is_transient(error: BaseException) -> bool:
    """Return whether the same work may succeed later because the database was away, read-only, overloaded or contended.

    Errors without an SQLSTATE are those of the client: a connection that was lost or could not be made is transient.
    """
    if isinstance(error, PoolTimeout):
        return True
    if not isinstance(error, DBAPIError):
        return False
    state = sqlstate_of(error)
    if state is None:
        return error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError))
    return state not in _PERMANENT_STATES and (state[:2] in _TRANSIENT_CLASSES or state in _TRANSIENT_STATES)
