"""Transient database errors: one definition for sinks, timers, the relay, RPCs and watches.

The SQLSTATE decides, because the driver's exception type does not show whether a retry can succeed. For example, a database that becomes
read-only in a switch-over raises `InternalError`.
Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from chassis.message import RetryLater

READ_ONLY = "25006"
"""read_only_sql_transaction: the server is a standby, or was switched to read-only."""
STATEMENT_TIMEOUT = "57014"
"""query_canceled: the statement exceeded `statement_timeout`, or was cancelled."""
LOCK_TIMEOUT = "55P03"
"""lock_not_available: the statement waited for a lock for longer than `lock_timeout`."""
UNIQUE_VIOLATION = "23505"
"""unique_violation: the row exists already."""

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
        LOCK_TIMEOUT,
    },
)
_SESSION_STATES = frozenset(
    {
        READ_ONLY,  # the new primary, if there is one, is behind a new connection
        "25P03",
        "25P04",
        "57P01",  # admin_shutdown
        "57P02",  # crash_shutdown
        "57P05",  # idle_session_timeout
    },
)
_PERMANENT_STATES = frozenset(
    {
        "57P04",  # database_dropped
    },
)


class StoreUnavailable(Exception):
    """The database did not answer before the caller's deadline. Whether the work had an effect is unknown."""


def sqlstate_of(error: BaseException) -> str | None:
    """Return the SQLSTATE of a database error; None for other errors and for errors that the server did not report."""
    state: str | None = getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None)
    return state


def is_transient(error: BaseException) -> bool:
    """Return whether the same work may succeed later because the database was unavailable, read-only, overloaded or contended.

    Errors without an SQLSTATE are those of the client: a connection that was lost or could not be made is transient.
    """
    if isinstance(error, (PoolTimeout, RetryLater, StoreUnavailable)):
        return True
    if not isinstance(error, DBAPIError):
        return False
    state = sqlstate_of(error)
    if state is None:
        return error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError))
    return state not in _PERMANENT_STATES and (state[:2] in _TRANSIENT_CLASSES or state in _TRANSIENT_STATES)


def is_away(error: BaseException) -> bool:
    """Return whether the database as a whole is unavailable or read-only, so that other work fails for the same reason.

    Time-outs, deadlocks and `RetryLater` are transient too, but may be due to the work itself.
    """
    return is_transient(error) and not isinstance(error, RetryLater) and not ran_out_of_time(error) and not _is_contention(error)


def ran_out_of_time(error: BaseException) -> bool:
    """Return whether `statement_timeout` or `lock_timeout` ended a statement, due to this work or to a database that is slow for all."""
    return sqlstate_of(error) in {STATEMENT_TIMEOUT, LOCK_TIMEOUT}


def ends_session(error: BaseException) -> bool:
    """Return whether the connection is unusable after an error, although the driver may consider it open."""
    state = sqlstate_of(error)
    return state is not None and (state in _SESSION_STATES or state.startswith("08"))


def _is_contention(error: BaseException) -> bool:
    return (sqlstate_of(error) or "").startswith("40")
