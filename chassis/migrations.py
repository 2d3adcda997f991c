"""Alembic for a schema per service.

Every service's `migrations/env.py` calls `run_environment`; `paidan db migrate` calls `migrate` for all of them as the database's owner.
Each schema has its own version table, and its own role, which owns nothing but may work in its schema and read identities.

Services run during a migration. So each migration has its own transaction, and waits for a lock no longer than `LOCK_TIMEOUT`: all later
statements on a table queue behind a waiting lock request. A migration that does not get its lock is rolled back and retried.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic import command, context, op
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, make_url, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from chassis.identity.tokens import SCHEMA as IDENTITY
from chassis.sql import session_options
from chassis.transient import LOCK_TIMEOUT as LOCK_NOT_AVAILABLE
from chassis.transient import sqlstate_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy import MetaData

LOCK_TIMEOUT = timedelta(seconds=3)
_TRIES = 10
_PAUSE = timedelta(seconds=2)
_LOCK = 7_214_021
_LOCK_POLL = timedelta(milliseconds=200)
_INSTANT = sa.DateTime(timezone=True)


class MigrationFailed(Exception):
    """A migration failed and was rolled back; those before it are applied.

    Attributes:
        schema: Schema that it belongs to.
        revision: Its revision; None if it failed outside of any migration.
    """

    def __init__(self, schema: str, revision: str | None, title: str, problem: str) -> None:
        name = f"migration {revision} ({title})" if revision else "its preparation"
        super().__init__(
            f"schema {schema}: {name} failed: {problem}. What came before it is applied and stays. "
            "Correct the cause and migrate again: it continues there. An index that was to be created concurrently may be left INVALID; "
            "drop it first, unless the migration uses `create_index_concurrently`.",
        )
        self.schema = schema
        self.revision = revision


def run_environment(schema: str, metadata: MetaData) -> None:
    """Run Alembic's environment for one schema; the whole content of each `env.py`."""
    connection: Connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table_schema=schema,
        include_schemas=True,
        include_name=lambda name, kind, _parents: kind != "schema" or name == schema,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def configuration(directory: Path, connection: Connection) -> Config:
    """Return Alembic's configuration for the migrations in `directory`, on an open connection."""
    config = Config()
    config.set_main_option("script_location", str(directory))
    config.attributes["connection"] = connection
    return config


def migrate(url: str, directories: Mapping[str, Path]) -> Sequence[str]:
    """Bring every schema to its newest version, each migration in a transaction of its own; two at once wait for each other.

    Args:
        url: The database, as a user that may create schemas and roles.
        directories: Schema name → its `migrations` directory.

    Returns:
        Names of the schemas.

    Raises:
        MigrationFailed: One failed, or did not get its locks after several tries.
        SQLAlchemyError: The database is unavailable, or rejects a statement.
    """
    parsed = make_url(url)
    options = session_options(parsed, {"lock_timeout": str(round(LOCK_TIMEOUT.total_seconds() * 1000))})
    engine = create_engine(parsed, poolclass=NullPool, connect_args={"options": options})
    everything = {IDENTITY: Path(__file__).parent / "identity" / "migrations", **directories}
    with _alone(engine):
        for schema, directory in everything.items():
            _with_locks(partial(_in_transaction, engine, schema, _prepare))
            try:
                _with_locks(partial(_upgrade, engine, directory))
            except Exception as error:
                # The running services need the grants on what was applied, also if a later migration fails.
                with suppress(DBAPIError):
                    _in_transaction(engine, schema, _grant)
                raise _failure(engine, schema, directory, error) from error
            _with_locks(partial(_in_transaction, engine, schema, _grant))
        for schema in directories:
            _in_transaction(engine, schema, _grant_identities)
    return list(everything)


def create_index_concurrently(name: str, table: str, columns: Sequence[Any], *, schema: str, **options: Any) -> None:  # noqa: ANN401 - as of Alembic
    """Create an index without blocking writes; a migration that calls this does nothing else.

    The statement waits for all earlier transactions, without a time-out and without blocking others. An invalid index of an earlier try is
    dropped first.

    Args:
        name: Name of the index.
        table: Its table.
        columns: Columns or expressions.
        schema: Schema of the table.
        options: Further arguments of `op.create_index`, such as `unique` and `postgresql_where`.
    """
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.drop_index(name, table, schema=schema, if_exists=True, postgresql_concurrently=True)
        op.create_index(name, table, columns, schema=schema, postgresql_concurrently=True, **options)
        op.execute("RESET lock_timeout")


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    """Take the lock that allows one migration of a database at a time; wait while another process holds it.

    The lock belongs to a session without a transaction or a running statement, also while it waits: `CREATE INDEX CONCURRENTLY` waits for
    all open transactions and statements, and would deadlock with one that waits for this lock.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        while not conn.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": _LOCK}):
            time.sleep(_LOCK_POLL.total_seconds())
        yield


def _with_locks(step: Callable[[], None]) -> None:
    """Retry a step that does not get its locks, with pauses in which the services continue."""
    for left in reversed(range(_TRIES)):
        try:
            step()
        except DBAPIError as error:
            if sqlstate_of(error) != LOCK_NOT_AVAILABLE or not left:
                raise
            time.sleep(_PAUSE.total_seconds())
        else:
            return


def _upgrade(engine: Engine, directory: Path) -> None:
    with engine.connect() as connection:
        command.upgrade(configuration(directory, connection), "head")


def _in_transaction(engine: Engine, schema: str, step: Callable[[Connection, str], None]) -> None:
    with engine.begin() as connection:
        step(connection, schema)


def _failure(engine: Engine, schema: str, directory: Path, error: Exception) -> MigrationFailed:
    """Return the failure of the migration after the one that was applied last."""
    with engine.connect() as connection:
        script = ScriptDirectory.from_config(configuration(directory, connection))
        context_ = MigrationContext.configure(connection, opts={"version_table_schema": schema})
        missing = list(script.iterate_revisions("heads", context_.get_current_heads() or "base"))
    orig = getattr(error, "orig", None) or error
    problem = f"{type(orig).__name__}: {str(orig).partition(chr(10))[0]}"
    return MigrationFailed(schema, missing[-1].revision if missing else None, missing[-1].doc if missing else "", problem)


def _grant_identities(connection: Connection, schema: str) -> None:
    connection.execute(text(f"GRANT USAGE ON SCHEMA {IDENTITY} TO paidan_{schema}"))
    connection.execute(text(f"GRANT SELECT ON ALL TABLES IN SCHEMA {IDENTITY} TO paidan_{schema}"))


def _prepare(connection: Connection, schema: str) -> None:
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {schema}"))
    exists = connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": f"paidan_{schema}"})
    if not exists:
        connection.execute(text(f"CREATE ROLE paidan_{schema} NOLOGIN"))
    connection.execute(text(f"GRANT paidan_{schema} TO CURRENT_USER"))


def _grant(connection: Connection, schema: str) -> None:
    role = f"paidan_{schema}"
    connection.execute(text(f"GRANT USAGE ON SCHEMA {schema} TO {role}"))
    connection.execute(text(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}"))
    connection.execute(text(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {role}"))


def create_messaging(schema: str) -> None:
    """Create inbox and outbox for a service's first migration; `create_outbox_indexes` follows in a later one."""
    op.create_table(
        "inbox",
        sa.Column("message_id", sa.Text, primary_key=True),
        sa.Column("receive_time", _INSTANT, nullable=False, server_default=sa.func.now()),
        schema=schema,
    )
    op.create_index("inbox_receive_time", "inbox", ["receive_time"], schema=schema, postgresql_using="brin")
    op.create_table(
        "outbox",
        sa.Column("seq", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("aggregatetype", sa.Text, nullable=False, comment="topic"),
        sa.Column("aggregateid", sa.Text, nullable=False, comment="key of the record"),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("headers", JSONB, nullable=False, comment="all headers of the record, in order"),
        sa.Column("create_time", _INSTANT, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("retry_time", _INSTANT, comment="not before this; NULL: at once"),
        sa.Column("last_error", sa.Text),
        schema=schema,
    )
    op.create_index("outbox_held_back", "outbox", ["aggregateid"], schema=schema, postgresql_where=sa.text("retry_time IS NOT NULL"))


def create_outbox_indexes(schema: str) -> None:
    """Create the indexes of ready and of waiting rows that `chassis.outbox` declares, instead of the one of the first migration."""
    op.create_index("outbox_order", "outbox", ["retry_time", "seq"], schema=schema)
    waits = sa.text("coalesce(retry_time, '-infinity') > '-infinity'")
    op.create_index("outbox_waiting_key", "outbox", ["aggregateid", "seq"], schema=schema, postgresql_where=waits)
    op.drop_index("outbox_held_back", "outbox", schema=schema)


def drop_outbox_indexes(schema: str) -> None:
    """Undo `create_outbox_indexes`, and make all rows ready: the previous release does not release rows that wait for another."""
    op.execute(sa.text(f"UPDATE {schema}.outbox SET retry_time = NULL"))  # noqa: S608 - the schema's name is ours
    op.create_index("outbox_held_back", "outbox", ["aggregateid"], schema=schema, postgresql_where=sa.text("retry_time IS NOT NULL"))
    op.drop_index("outbox_waiting_key", "outbox", schema=schema)
    op.drop_index("outbox_order", "outbox", schema=schema)
