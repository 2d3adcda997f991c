"""Alembic for a schema per service.

Every service's `migrations/env.py` calls `run_environment`; `paidan db migrate` calls `migrate` for all of them as the database's owner.
Each schema has its own version table, and its own role, which owns nothing but may work in its schema and read identities.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic import command, context, op
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.dialects.postgresql import JSONB

from chassis.identity.tokens import SCHEMA as IDENTITY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import MetaData

_LOCK = 7_214_021
_INSTANT = sa.DateTime(timezone=True)


def run_environment(schema: str, metadata: MetaData) -> None:
    """Run Alembic's environment for one schema; the whole content of each `env.py`."""
    connection: Connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table_schema=schema,
        include_schemas=True,
        include_name=lambda name, kind, _parents: kind != "schema" or name == schema,
        transaction_per_migration=False,
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
    """Bring every schema to its newest version, in one transaction; two at once wait for each other.

    Args:
        url: The database, as a user that may create schemas and roles.
        directories: Schema name → its `migrations` directory.

    Returns:
        Names of the schemas.
    """
    engine: Engine = create_engine(url)
    everything = {IDENTITY: Path(__file__).parent / "identity" / "migrations", **directories}
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            for schema, directory in everything.items():
                _prepare(connection, schema)
                command.upgrade(configuration(directory, connection), "head")
                _grant(connection, schema)
            for schema in directories:
                connection.execute(text(f"GRANT USAGE ON SCHEMA {IDENTITY} TO paidan_{schema}"))
                connection.execute(text(f"GRANT SELECT ON ALL TABLES IN SCHEMA {IDENTITY} TO paidan_{schema}"))
    finally:
        engine.dispose()
    return list(everything)


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
    """Undo `create_outbox_indexes`, and make all rows ready: the relay of before releases no row that waits for another."""
    op.execute(sa.text(f"UPDATE {schema}.outbox SET retry_time = NULL"))  # noqa: S608 - the schema's name is ours
    op.create_index("outbox_held_back", "outbox", ["aggregateid"], schema=schema, postgresql_where=sa.text("retry_time IS NOT NULL"))
    op.drop_index("outbox_waiting_key", "outbox", schema=schema)
    op.drop_index("outbox_order", "outbox", schema=schema)
