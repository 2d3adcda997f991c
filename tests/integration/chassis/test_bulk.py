"""Bulk statements: many rows by one statement, whatever is in them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import ARRAY, Column, DateTime, Integer, LargeBinary, MetaData, Table, Text, insert, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DataError, IntegrityError, OperationalError

from chassis.bulk import bulk_insert, bulk_update, bulk_upsert
from chassis.caller import Role
from chassis.sql import build_engine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from tests.integration.chassis.conftest import Probe

_NOON = datetime(2026, 11, 26, 4, tzinfo=UTC)


@pytest.fixture
def table(probe: Probe) -> Iterator[Table]:
    made = Table(
        f"bulk_{uuid.uuid4().hex[:8]}",
        MetaData(schema=probe.schema),
        Column("part", Text, primary_key=True),
        Column("number", Integer, primary_key=True),
        Column("words", ARRAY(Text)),
        Column("facts", JSONB),
        Column("at", DateTime(timezone=True)),
        Column("raw", LargeBinary),
    )
    with probe.admin.begin() as conn:
        made.create(conn)
        conn.execute(text(f"GRANT ALL ON {made.fullname} TO paidan_{probe.schema}"))
    yield made
    with probe.admin.begin() as conn:
        made.drop(conn)


def row(number: int, **changed: Any) -> dict[str, Any]:
    return {"part": "a", "number": number, "words": ["一", '"'], "facts": {"x": [1, None]}, "at": _NOON, "raw": b"\x00\xff", **changed}


def stored(conn: Connection, table: Table) -> list[dict[str, Any]]:
    return [dict(each) for each in conn.execute(select(table).order_by(table.c.part, table.c.number)).mappings()]


def test_what_is_inserted_comes_back_as_it_was(probe: Probe, table: Table) -> None:
    rows = [row(1), row(2, words=[], facts=None, at=None, raw=None), row(3, facts=["厂房", 'a"b\\c'])]

    with probe.engine.begin() as conn:
        bulk_insert(conn, table, rows)
        back = stored(conn, table)

    assert back == rows


def test_an_update_changes_the_columns_that_it_names_in_the_rows_that_it_names(probe: Probe, table: Table) -> None:
    with probe.engine.begin() as conn:
        bulk_insert(conn, table, [row(1), row(2), row(3), row(1, part="b")])
        bulk_update(
            conn,
            table,
            [
                {"part": "a", "number": 1, "words": ["新"], "facts": None},
                {"part": "a", "number": 3, "words": [], "facts": {"y": "值"}},
                {"part": "a", "number": 9, "words": ["nobody"], "facts": None},
            ],
        )
        back = stored(conn, table)

    assert back == [row(1, words=["新"], facts=None), row(2), row(3, words=[], facts={"y": "值"}), row(1, part="b")]


def test_an_insertion_alone_is_a_transaction(probe: Probe, table: Table) -> None:
    with probe.engine.connect() as conn:
        bulk_insert(conn, table, [row(1)])
        conn.commit()
        bulk_insert(conn, table, [row(2)])
        conn.rollback()

    with probe.engine.connect() as conn:
        assert stored(conn, table) == [row(1)]


def test_a_key_that_is_there_already_is_refused_like_by_any_statement_and_tells_no_values(probe: Probe, table: Table) -> None:
    with probe.engine.begin() as conn:
        bulk_insert(conn, table, [row(1)])

    with probe.engine.connect() as conn:
        with pytest.raises(IntegrityError) as refused:
            bulk_insert(conn, table, [row(2, facts="13812345678"), row(1)])
        conn.rollback()
        bulk_insert(conn, table, [row(3)])
        conn.commit()
        back = stored(conn, table)

    assert "13812345678" not in str(refused.value)
    assert back == [row(1), row(3)]


def test_what_no_text_may_hold_is_refused_like_by_any_statement(probe: Probe, table: Table) -> None:
    with probe.engine.connect() as conn, pytest.raises(DataError):
        bulk_insert(conn, table, [row(1, part="a\x00b")])


def test_a_connection_that_was_cut_is_found_out_and_not_used_again(probe: Probe, table: Table) -> None:
    with probe.engine.connect() as conn:
        pid = conn.scalar(text("SELECT pg_backend_pid()"))
        with probe.admin.begin() as admin:
            admin.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        with pytest.raises(OperationalError) as cut:
            bulk_insert(conn, table, [row(1)])
        assert cut.value.connection_invalidated
        assert conn.invalidated

    with probe.engine.connect() as conn:
        assert stored(conn, table) == []


def test_words_of_an_enumeration_are_stored_as_text(probe: Probe, table: Table) -> None:
    with probe.engine.begin() as conn:
        bulk_insert(conn, table, [row(1, part=Role.UNIT, words=[Role.UNIT])])
        back = stored(conn, table)

    assert back == [row(1, part="unit", words=["unit"])]


def test_json_that_is_written_already_is_stored_as_json(probe: Probe, table: Table) -> None:
    with probe.engine.begin() as conn:
        bulk_insert(conn, table, [row(1, facts=b'{"n": [1, "\xe5\x80\xbc"]}')])
        back = stored(conn, table)

    assert back == [row(1, facts={"n": [1, "值"]})]


def test_an_upsert_inserts_what_is_new_and_updates_the_rest(probe: Probe, table: Table) -> None:
    with probe.engine.begin() as conn:
        conn.execute(insert(table), [row(1)])
        bulk_upsert(conn, table, [row(1, facts=2), row(2)])
        back = stored(conn, table)

    assert back == [row(1, facts=2), row(2)]


def test_no_rows_are_no_statement(probe: Probe, table: Table) -> None:
    with probe.engine.connect() as conn:
        closed = conn

    for bulk in (bulk_insert, bulk_update, bulk_upsert):
        bulk(closed, table, [])


def test_a_services_engine_reads_json_as_it_was_written(probe: Probe, table: Table) -> None:
    engine = build_engine(probe.url, service="intake")
    assert engine.dialect._json_deserializer is not None

    with probe.engine.begin() as conn:
        bulk_insert(conn, table, [row(1, facts={"text": "二期\u2028厂房", "n": 1.5, "big": 2**53})])
        back = stored(conn, table)

    assert back[0]["facts"] == {"text": "二期\u2028厂房", "n": 1.5, "big": 2**53}
    engine.dispose()
