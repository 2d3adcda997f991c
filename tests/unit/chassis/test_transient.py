"""The definition of a transient database error."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from chassis.transient import is_transient, sqlstate_of


def wrapped(error: BaseException) -> BaseException:
    return DBAPIError.instance("SELECT 1", None, error, psycopg.Error)


@pytest.mark.parametrize(
    "kind",
    [
        errors.ReadOnlySqlTransaction,
        errors.AdminShutdown,
        errors.CannotConnectNow,
        errors.QueryCanceled,
        errors.DeadlockDetected,
        errors.SerializationFailure,
        errors.LockNotAvailable,
        errors.DiskFull,
        errors.TooManyConnections,
        errors.ConnectionFailure,
        errors.IoError,
        errors.IdleInTransactionSessionTimeout,
    ],
)
def test_the_state_of_a_database_that_is_away_read_only_or_contended_is_transient(kind: type[psycopg.Error]) -> None:
    assert is_transient(wrapped(kind("detail")))


@pytest.mark.parametrize(
    "kind",
    [
        errors.UniqueViolation,
        errors.CheckViolation,
        errors.UndefinedTable,
        errors.InsufficientPrivilege,
        errors.NumericValueOutOfRange,
        errors.DatabaseDropped,
        errors.InternalError_,
    ],
)
def test_an_error_of_the_statement_or_its_data_is_not_transient(kind: type[psycopg.Error]) -> None:
    assert not is_transient(wrapped(kind("detail")))


def test_a_connection_that_was_lost_without_a_state_is_transient() -> None:
    assert is_transient(wrapped(psycopg.OperationalError("server closed the connection unexpectedly")))


def test_a_pool_without_a_free_connection_is_transient() -> None:
    assert is_transient(PoolTimeout("QueuePool limit reached"))


def test_an_error_of_the_program_is_not_transient() -> None:
    assert not is_transient(ValueError("no"))
    assert sqlstate_of(ValueError("no")) is None
