from __future__ import annotations

from typing import TYPE_CHECKING

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text

from services.dispatcher.adapters.tables import SCHEMA, metadata

if TYPE_CHECKING:
    from tests.integration.dispatcher.harness import Harness


def test_the_migrations_make_the_tables_that_the_code_declares(dispatcher_url: str) -> None:
    engine = create_engine(dispatcher_url)
    with engine.connect() as conn:
        context = MigrationContext.configure(
            conn,
            opts={
                "include_schemas": True,
                "include_name": lambda name, kind, _parents: kind != "schema" or name == SCHEMA,
                "version_table_schema": SCHEMA,
                "compare_type": True,
            },
        )
        differences = compare_metadata(context, metadata)
    engine.dispose()

    assert differences == []


def test_the_guards_tick_and_a_units_list_use_their_indexes(harness: Harness) -> None:
    plans = {
        "dispatch_next_action": "SELECT 1 FROM dispatcher.dispatch WHERE next_action_time <= now() ORDER BY next_action_time LIMIT 10",
        "participant_open": "SELECT 1 FROM dispatcher.participant WHERE unit = 'czj' AND open ORDER BY order_time DESC, ticket_id DESC",
        "dispatch_triage": "SELECT 1 FROM dispatcher.dispatch WHERE triage_since IS NOT NULL ORDER BY triage_since, ticket_id LIMIT 50",
    }

    with harness.engine.connect() as conn:
        conn.execute(text("SET LOCAL enable_seqscan = off"))
        conn.execute(text("SET LOCAL enable_sort = off"))
        used = {index: "\n".join(row[0] for row in conn.execute(text(f"EXPLAIN {query}"))) for index, query in plans.items()}

    for index, plan in used.items():
        assert index in plan, plan


def test_the_services_role_owns_nothing(harness: Harness) -> None:
    [row] = harness.rows("SELECT current_user AS who, count(*) FILTER (WHERE tableowner = current_user) AS owned FROM pg_tables")

    assert (row.who, row.owned) == ("paidan_dispatcher", 0)
