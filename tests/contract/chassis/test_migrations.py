"""Migrations make exactly what the code declares, and can be undone; the roles may do exactly what they need."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import CheckConstraint, create_engine, inspect, text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from chassis.identity import tokens
from chassis.migrations import LOCK_TIMEOUT, MigrationFailed, configuration, migrate
from chassis.sql import build_engine
from services.intake.adapters import tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine, MetaData

ROOT = Path(__file__).parents[3]
INTAKE = ROOT / "services" / "intake" / "migrations"
IDENTITY = ROOT / "chassis" / "identity" / "migrations"


@dataclass(frozen=True)
class Schema:
    name: str
    metadata: MetaData
    directory: Path


SCHEMAS = [Schema("identity", tokens.metadata, IDENTITY), Schema("intake", tables.metadata, INTAKE)]


@pytest.fixture
def migrated(empty_database: str) -> Iterator[Engine]:
    migrate(empty_database, {"intake": INTAKE})
    engine = create_engine(empty_database)
    yield engine
    engine.dispose()


def differences(conn: Connection, schema: Schema) -> list[object]:
    context = MigrationContext.configure(
        conn,
        opts={
            "compare_type": True,
            "compare_server_default": True,
            "include_schemas": True,
            "version_table_schema": schema.name,
            "include_name": lambda name, kind, _parents: kind != "schema" or name == schema.name,
        },
    )
    return list(compare_metadata(context, schema.metadata))


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
def test_the_migrations_make_exactly_what_the_code_declares(migrated: Engine, schema: Schema) -> None:
    with migrated.connect() as conn:
        assert differences(conn, schema) == []


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
def test_a_column_that_is_missing_would_be_noticed(migrated: Engine, schema: Schema) -> None:
    table = min(schema.metadata.tables.values(), key=lambda each: each.name)
    column = table.columns.values()[-1]

    with migrated.connect() as conn:
        conn.execute(text(f"ALTER TABLE {table.fullname} DROP COLUMN {column.name} CASCADE"))

        assert differences(conn, schema) != []


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
def test_checks_and_comments_are_those_that_the_code_declares(migrated: Engine, schema: Schema) -> None:
    inspector = inspect(migrated)

    for table in schema.metadata.tables.values():
        declared = {constraint.name for constraint in table.constraints if isinstance(constraint, CheckConstraint)}
        found = {constraint["name"] for constraint in inspector.get_check_constraints(table.name, schema.name)}
        assert found == declared, table.fullname
        assert inspector.get_table_comment(table.name, schema.name)["text"] == table.comment
        for column in inspector.get_columns(table.name, schema.name):
            assert column["comment"] == table.c[column["name"]].comment


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
def test_the_migrations_can_be_undone_and_done_again(migrated: Engine, schema: Schema) -> None:
    with migrated.begin() as conn:
        command.downgrade(configuration(schema.directory, conn), "base")
        left = inspect(conn).get_table_names(schema.name)
        command.upgrade(configuration(schema.directory, conn), "head")

    assert left == ["alembic_version"]
    with migrated.connect() as conn:
        assert differences(conn, schema) == []


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
def test_the_migrations_are_one_line_from_the_first_to_the_last(migrated: Engine, schema: Schema) -> None:
    with migrated.connect() as conn:
        script = ScriptDirectory.from_config(configuration(schema.directory, conn))

    assert len(script.get_heads()) == 1
    assert len(script.get_bases()) == 1


def test_migrating_again_changes_nothing(migrated: Engine, empty_database: str) -> None:
    with migrated.begin() as conn:
        conn.execute(text("INSERT INTO intake.enterprise VALUES ('u', 'n', 'd')"))

    assert list(migrate(empty_database, {"intake": INTAKE})) == ["identity", "intake"]

    with migrated.connect() as conn:
        assert conn.scalar(text("SELECT count(*) FROM intake.enterprise")) == 1


def test_two_who_migrate_at_once_wait_for_each_other(empty_database: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: list(migrate(empty_database, {"intake": INTAKE})), range(2)))

    assert answers == [["identity", "intake"]] * 2


@dataclass(frozen=True)
class Migrations:
    """A service's migrations, written by the test."""

    directory: Path

    def add(self, revision: str, *statements: str, after: str | None = None, imports: str = "") -> None:
        body = "".join(f"    {statement}\n" for statement in statements)
        (self.directory / "versions" / f"{revision}.py").write_text(
            f'"""Step {revision}."""\nfrom alembic import op\n{imports}\nrevision, down_revision = {revision!r}, {after!r}\n'
            f"def upgrade():\n{body}",
        )

    def migrate(self, url: str) -> None:
        migrate(url, {"intake": self.directory})


@pytest.fixture
def migrations(tmp_path: Path) -> Migrations:
    directory = tmp_path / "migrations"
    (directory / "versions").mkdir(parents=True)
    (directory / "env.py").write_text((INTAKE / "env.py").read_text())
    made = Migrations(directory)
    made.add("1", "op.execute('CREATE TABLE intake.entry (x int)')")
    return made


@pytest.fixture
def owner(empty_database: str) -> Iterator[Engine]:
    engine = create_engine(empty_database)
    yield engine
    engine.dispose()


def revision_of(engine: Engine) -> str | None:
    with engine.connect() as conn:
        revision: str | None = conn.scalar(text("SELECT version_num FROM intake.alembic_version"))
    return revision


def indexes(engine: Engine) -> dict[str, bool]:
    """Return the names of the indexes of `intake.entry`, and whether each is valid."""
    with engine.connect() as conn:
        rows = conn.execute(
            text("SELECT indexrelid::regclass::text AS name, indisvalid FROM pg_index WHERE indrelid = 'intake.entry'::regclass"),
        ).all()
    return {row.name: row.indisvalid for row in rows}


def test_a_migration_that_fails_leaves_those_before_it_applied_and_nothing_of_its_own(
    empty_database: str, migrations: Migrations, owner: Engine
) -> None:
    migrations.add("2", "op.execute('CREATE TABLE intake.half (x int)')", "op.execute('SELECT nonsense')", after="1")

    with pytest.raises(MigrationFailed, match=r"schema intake: migration 2 \(Step 2\.\) failed: UndefinedColumn.*migrate again") as failed:
        migrations.migrate(empty_database)

    assert (failed.value.schema, failed.value.revision) == ("intake", "2")
    assert revision_of(owner) == "1"
    assert set(inspect(owner).get_table_names("intake")) == {"alembic_version", "entry"}
    with owner.connect() as conn:
        assert conn.scalar(text("SELECT has_table_privilege('paidan_intake', 'intake.entry', 'INSERT')"))


def test_after_the_cause_is_corrected_migrating_goes_on_where_it_failed(empty_database: str, migrations: Migrations, owner: Engine) -> None:
    migrations.add("2", "op.execute('SELECT nonsense')", after="1")
    with pytest.raises(MigrationFailed):
        migrations.migrate(empty_database)

    migrations.add("2", "op.execute('CREATE TABLE intake.more (x int)')", after="1")
    migrations.migrate(empty_database)

    assert revision_of(owner) == "2"
    assert "more" in inspect(owner).get_table_names("intake")


CONCURRENTLY = (
    "with op.get_context().autocommit_block():",
    "    op.create_index('entry_x', 'entry', ['x'], schema='intake', postgresql_concurrently=True)",
)


def test_an_index_is_created_concurrently_by_two_who_migrate_at_once(empty_database: str, migrations: Migrations, owner: Engine) -> None:
    migrations.add("2", *CONCURRENTLY, after="1")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: migrations.migrate(empty_database), range(2)))

    assert indexes(owner) == {"intake.entry_x": True}
    assert revision_of(owner) == "2"


def test_an_index_that_an_earlier_try_left_invalid_is_created_anew(empty_database: str, migrations: Migrations, owner: Engine) -> None:
    migrations.migrate(empty_database)
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text("INSERT INTO intake.entry VALUES (1), (1)"))
        with pytest.raises(IntegrityError):
            conn.execute(text("CREATE UNIQUE INDEX CONCURRENTLY entry_x ON intake.entry (x)"))
        left = indexes(owner)
        conn.execute(text("DELETE FROM intake.entry"))
    migrations.add(
        "2",
        "create_index_concurrently('entry_x', 'entry', ['x'], schema='intake', unique=True)",
        after="1",
        imports="from chassis.migrations import create_index_concurrently\n",
    )

    migrations.migrate(empty_database)

    assert left == {"intake.entry_x": False}
    assert indexes(owner) == {"intake.entry_x": True}


def test_an_index_created_concurrently_waits_for_a_long_transaction_without_holding_up_writers(
    empty_database: str, migrations: Migrations, owner: Engine
) -> None:
    migrations.migrate(empty_database)
    migrations.add(
        "2",
        "create_index_concurrently('entry_x', 'entry', ['x'], schema='intake')",
        after="1",
        imports="from chassis.migrations import create_index_concurrently\n",
    )

    with ThreadPoolExecutor(1) as pool, owner.connect() as long:
        long.execute(text("INSERT INTO intake.entry VALUES (1)"))
        migrating = pool.submit(migrations.migrate, empty_database)
        until_waiting(owner)
        time.sleep(LOCK_TIMEOUT.total_seconds() + 0.5)
        with owner.begin() as conn:
            conn.execute(text("SET LOCAL lock_timeout = '1s'"))
            conn.execute(text("INSERT INTO intake.entry VALUES (2)"))
        waited = not migrating.done()
        long.commit()
        migrating.result(20)

    assert waited
    assert indexes(owner) == {"intake.entry_x": True}


def test_a_migration_that_does_not_get_its_lock_lets_the_others_go_on_and_is_tried_again(
    empty_database: str, migrations: Migrations, owner: Engine
) -> None:
    migrations.migrate(empty_database)
    migrations.add("2", "op.execute('ALTER TABLE intake.entry ADD COLUMN y int')", after="1")

    with ThreadPoolExecutor(1) as pool, owner.connect() as long:
        long.execute(text("SELECT * FROM intake.entry"))
        migrating = pool.submit(migrations.migrate, empty_database)
        until_waiting(owner)
        began = time.monotonic()
        with owner.begin() as conn:
            conn.execute(text("INSERT INTO intake.entry VALUES (2)"))
        held_up = time.monotonic() - began
        long.rollback()
        migrating.result(20)

    assert held_up < LOCK_TIMEOUT.total_seconds() + 1
    assert revision_of(owner) == "2"


def until_waiting(engine: Engine) -> None:
    """Wait until some session waits for a lock."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        end = time.monotonic() + 20
        while not conn.scalar(text("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")):
            assert time.monotonic() < end, "nobody waits"
            time.sleep(0.02)


@pytest.fixture
def as_intake(migrated: Engine, empty_database: str) -> Iterator[Engine]:
    migrated.dispose()
    engine = build_engine(empty_database, service="intake")
    yield engine
    engine.dispose()


def test_a_service_works_in_its_schema_under_its_role(as_intake: Engine) -> None:
    with as_intake.begin() as conn:
        conn.execute(text("INSERT INTO enterprise VALUES ('u', 'n', 'd')"))
        conn.execute(text("UPDATE enterprise SET name = 'm'"))
        conn.execute(text("DELETE FROM enterprise"))
        who, where, zone = conn.execute(
            text("SELECT current_user, current_schema, current_setting('timezone')"),
        ).one()

    assert (who, where, zone) == ("paidan_intake", "intake", "UTC")


def test_a_service_reads_identities_and_changes_none(as_intake: Engine) -> None:
    with as_intake.connect() as conn:
        assert conn.execute(text("SELECT count(*) FROM identity.caller_token")).scalar() == 0
        with pytest.raises(ProgrammingError, match="permission denied"):
            conn.execute(text("DELETE FROM identity.caller_token"))


@pytest.mark.parametrize(
    "statement", ["DROP TABLE ticket", "CREATE TABLE more (x int)", "ALTER TABLE ticket ADD COLUMN x int", "TRUNCATE ticket"]
)
def test_a_service_cannot_change_its_tables_shape(as_intake: Engine, statement: str) -> None:
    with as_intake.connect() as conn, pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
        conn.execute(text(statement))


def test_a_service_sees_no_table_of_another(as_intake: Engine, migrated: Engine) -> None:
    with migrated.begin() as conn:
        conn.execute(text("CREATE SCHEMA other"))
        conn.execute(text("CREATE TABLE other.secret (x int)"))

    with as_intake.connect() as conn, pytest.raises(ProgrammingError, match="permission denied"):
        conn.execute(text("SELECT * FROM other.secret"))


def test_a_token_of_an_unknown_role_cannot_be_stored(migrated: Engine) -> None:
    with migrated.connect() as conn, pytest.raises(IntegrityError, match="caller_token_role"):
        conn.execute(text("INSERT INTO identity.caller_token (token_id, secret_sha256, role, subject) VALUES ('t', '', 'mayor', 's')"))
