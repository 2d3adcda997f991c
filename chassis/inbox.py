"""Inbox: which messages a consumer has handled already, remembered in the transaction of their effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Column, DateTime, Index, Table, Text, func, text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from sqlalchemy import Connection, MetaData

_HOUSEKEEPING_BATCH = 5000


def inbox_table(metadata: MetaData) -> Table:
    """Declare the inbox of a service's schema."""
    return Table(
        "inbox",
        metadata,
        Column("message_id", Text, primary_key=True),
        Column("receive_time", DateTime(timezone=True), nullable=False, server_default=func.now()),
        Index("inbox_receive_time", "receive_time", postgresql_using="brin"),
    )


def claim(conn: Connection, table: Table, ids: Sequence[str]) -> set[str]:
    """Claim message ids in the transaction of `conn`; return those that nobody claimed before.

    A second transaction that claims the same id waits for the first, and gets it only if that one rolls back.
    """
    if not ids:
        return set()
    rows = conn.execute(
        text(
            f"INSERT INTO {table.fullname} (message_id) SELECT DISTINCT id FROM unnest(CAST(:ids AS text[])) AS id ORDER BY id "  # noqa: S608
            "ON CONFLICT DO NOTHING RETURNING message_id",
        ),
        {"ids": list(ids)},
    )
    return set(rows.scalars())


def release(conn: Connection, table: Table, ids: Sequence[str]) -> None:
    """Give back claims of messages that had no effect, so that they can be handled when they are sent again."""
    if ids:
        conn.execute(text(f"DELETE FROM {table.fullname} WHERE message_id = ANY(:ids)"), {"ids": list(ids)})  # noqa: S608 - the table's name is ours


def forget(conn: Connection, table: Table, *, now: datetime, retention: timedelta) -> int:
    """Forget ids older than `retention`, up to 5,000 at a time; returns how many."""
    return conn.execute(
        text(
            f"DELETE FROM {table.fullname} WHERE message_id IN "  # noqa: S608 - the table's name is ours
            f"(SELECT message_id FROM {table.fullname} WHERE receive_time < :limit LIMIT :batch)",
        ),
        {"limit": now - retention, "batch": _HOUSEKEEPING_BATCH},
    ).rowcount
