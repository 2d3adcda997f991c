"""Migrations make exactly what the code declares, and can be undone; the roles may do exactly what they need."""

from __future__ import annotations

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
from chassis.migrations import configuration, migrate
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


def test_a_migration_that_fails_leaves_nothing_behind(empty_database: str, tmp_path: Path) -> None:
    broken = tmp_path / "migrations"
    (broken / "versions").mkdir(parents=True)
    (broken / "env.py").write_text((INTAKE / "env.py").read_text())
    (broken / "versions" / "0001.py").write_text(
        "from alembic import op\n"
        "revision, down_revision = '1', None\n"
        "def upgrade():\n"
        "    op.execute('CREATE TABLE intake.half (x int)')\n"
        "    op.execute('SELECT nonsense')\n",
    )

    with pytest.raises(ProgrammingError):
        migrate(empty_database, {"intake": broken})

    engine = create_engine(empty_database)
    assert not {"intake", "identity"} & set(inspect(engine).get_schema_names())
    engine.dispose()


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
