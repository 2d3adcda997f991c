"""Bulk statements: many rows by one statement, whatever their number."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson
from psycopg import Error, adapters
from psycopg.types.array import ListBinaryDumper
from psycopg.types.json import Jsonb
from sqlalchemy import ARRAY, JSON, Connection, Table, text
from sqlalchemy.dialects import postgresql

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy.sql.elements import TextClause


class _ColumnValues(list[Any]):
    """The values of a column, for `unnest`.

    They travel as a binary array: as text every quotation mark in JSON would be escaped, which costs 7 times as much.
    """


adapters.register_dumper(_ColumnValues, ListBinaryDumper)

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]  # untyped in SQLAlchemy


def bulk_insert(conn: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *, on_conflict_ignore: bool = False) -> None:
    """Insert rows by one statement, whatever their number.

    Args:
        conn: Connection in a transaction.
        table: Where to.
        rows: All with the same keys: names of columns. What is `bytes` for a JSON column is JSON already.
        on_conflict_ignore: Leave rows out whose key is there already.

    Raises:
        DBAPIError: As of any statement.
    """
    if not rows:
        return
    if on_conflict_ignore:
        conn.execute(_insert_statement(table, tuple(rows[0])), _arrays(table, rows))
    else:
        _copy(conn, table, rows)


def bulk_upsert(conn: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *, update: Sequence[str] | None = None) -> None:
    """Insert rows, or update those whose primary key is there already, by one statement.

    Args:
        conn: Connection in a transaction.
        table: Where to.
        rows: All with the same keys: names of columns; no primary key twice.
        update: Columns to update; all but the primary key if None.
    """
    if rows:
        columns = tuple(rows[0])
        key = {column.name for column in table.primary_key}
        changed = tuple(update) if update is not None else tuple(name for name in columns if name not in key)
        conn.execute(_insert_statement(table, columns, changed), _arrays(table, rows))


def bulk_update(conn: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Update rows that are there, found by their primary key, by one statement.

    Args:
        conn: Connection in a transaction.
        table: Where.
        rows: All with the same keys: names of columns, the primary key's among them; no primary key twice.
    """
    if rows:
        conn.execute(_update_statement(table, tuple(rows[0])), _arrays(table, rows))


def _copy(conn: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows by binary COPY, which costs both sides a third of what arrays cost.

    SQLAlchemy has no COPY; what it does around its own statements is done here: a transaction is begun, and errors are its own.
    """
    statement, types, encoders = _copy_statement(table, tuple(rows[0]))
    if not conn.in_transaction():
        conn.begin()
    try:
        with conn.connection.cursor() as cursor, cursor.copy(statement) as copy:  # type: ignore[attr-defined]  # psycopg's cursor
            copy.set_types(types)
            for row in rows:
                copy.write_row([encode(row[column]) for column, encode in encoders])
    except Error as error:
        # COPY bypasses SQLAlchemy's error handling. This call wraps the error, and invalidates the pool if the session is unusable.
        conn._handle_dbapi_exception(error, statement, None, None, None)  # noqa: SLF001 - SQLAlchemy offers nothing else


@lru_cache(maxsize=256)
def _copy_statement(table: Table, columns: tuple[str, ...]) -> tuple[str, tuple[str, ...], tuple[tuple[str, Callable[[Any], Any]], ...]]:
    """Return the statement, its columns' types, and what encodes each column's values."""
    types = tuple(str(table.c[column].type.compile(_DIALECT)).lower() for column in columns)
    encoders = tuple((column, _as_json if isinstance(table.c[column].type, JSON) else _as_it_is) for column in columns)
    return f"COPY {_name(table)} ({_names(columns)}) FROM STDIN (FORMAT BINARY)", types, encoders


@lru_cache(maxsize=256)
def _update_statement(table: Table, columns: tuple[str, ...]) -> TextClause:
    key = {column.name for column in table.primary_key}
    assignments = ", ".join(f'"{column}" = {_selected(table, column)}' for column in columns if column not in key)
    found = " AND ".join(f'"t"."{column}" = "row"."{column}"' for column in sorted(key))
    return text(f"UPDATE {_name(table)} AS t SET {assignments} FROM {_unnested(table, columns)} WHERE {found}")  # noqa: S608 - names, no values


@lru_cache(maxsize=256)
def _insert_statement(table: Table, columns: tuple[str, ...], update: tuple[str, ...] = ()) -> TextClause:
    """Return what inserts rows, and updates columns of those that are there already, or leaves them as they are."""
    selected = ", ".join(_selected(table, column) for column in columns)
    key = ", ".join(f'"{column.name}"' for column in table.primary_key)
    assignments = ", ".join(f'"{column}" = EXCLUDED."{column}"' for column in update)
    conflict = f"({key}) DO UPDATE SET {assignments}" if update else "DO NOTHING"
    return text(
        f"INSERT INTO {_name(table)} ({_names(columns)}) "  # noqa: S608 - names, no values
        f"SELECT {selected} FROM {_unnested(table, columns)} ON CONFLICT {conflict}",
    )


def _name(table: Table) -> str:
    return f'"{table.schema}"."{table.name}"' if table.schema else f'"{table.name}"'


def _names(columns: Sequence[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def _unnested(table: Table, columns: Sequence[str]) -> str:
    arrays = ", ".join(f"CAST(:{column} AS {_array_type(table, column)})" for column in columns)
    return f"unnest({arrays}) AS row({_names(columns)})"


def _is_array(table: Table, column: str) -> bool:
    return isinstance(table.c[column].type, ARRAY)


def _selected(table: Table, column: str) -> str:
    # unnest flattens arrays of arrays, so that an array column travels as JSON.
    if not _is_array(table, column):
        return f'row."{column}"'
    element = table.c[column].type.compile(_DIALECT)
    return f'CAST(ARRAY(SELECT jsonb_array_elements_text(row."{column}")) AS {element})'


def _array_type(table: Table, column: str) -> str:
    if _is_array(table, column):
        return "jsonb[]"
    return f"{table.c[column].type.compile(_DIALECT)}[]"


def _arrays(table: Table, rows: Sequence[Mapping[str, Any]]) -> dict[str, _ColumnValues]:
    return {column: _ColumnValues(_bound(table, column, row[column]) for row in rows) for column in rows[0]}


def _bound(table: Table, column: str, value: object) -> object:
    if isinstance(table.c[column].type, (JSON, ARRAY)):
        return _as_json(value)
    # A binary array has values of one type; enums of text are text.
    return str(value) if isinstance(value, str) else value


def _as_json(value: object) -> Jsonb | None:
    if value is None:
        return None
    return Jsonb(value, dumps=_as_it_is if isinstance(value, bytes) else orjson.dumps)


def _as_it_is(value: Any) -> Any:  # noqa: ANN401 - of whatever type a column has
    return value
