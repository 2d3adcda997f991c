"""Outbox: the table of messages that commit together with the state change that they describe, and its writing side.

    transaction: state + outbox rows ──commit──► `chassis.relay` publishes the rows and deletes them

The columns fit Debezium's outbox event router.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Column, DateTime, Identity, Index, Integer, LargeBinary, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from chassis.bulk import bulk_insert

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from sqlalchemy import Connection, MetaData

    from chassis.message import OutMessage

WAITS = "coalesce(retry_time, '-infinity') > '-infinity'"
"""SQL condition of waiting rows, in a form that `outbox_order` cannot serve: lookups by key must not scan all waiting rows."""


def outbox_table(metadata: MetaData) -> Table:
    """Declare the outbox of a service's schema."""
    return Table(
        "outbox",
        metadata,
        Column("seq", BigInteger, Identity(always=True), primary_key=True),
        Column("id", Text, nullable=False),
        Column("aggregatetype", Text, nullable=False, comment="topic"),
        Column("aggregateid", Text, nullable=False, comment="key of the record"),
        Column("type", Text, nullable=False),
        Column("payload", LargeBinary, nullable=False),
        Column("headers", JSONB, nullable=False, comment="all headers of the record, in order"),
        Column("create_time", DateTime(timezone=True), nullable=False),
        Column("attempts", Integer, nullable=False, server_default="0"),
        Column("retry_time", DateTime(timezone=True), comment="not before this; NULL: at once"),
        Column("last_error", Text),
        Index("outbox_order", "retry_time", "seq"),
        Index("outbox_waiting_key", "aggregateid", "seq", postgresql_where=text(WAITS)),
    )


class Outbox:
    """The writing side."""

    def __init__(self, table: Table, *, source: str) -> None:
        """Write to `table` as CloudEvents source `source`."""
        self.table = table
        self._source = source
        self._wake = threading.Event()

    def append(self, conn: Connection, messages: Sequence[OutMessage]) -> None:
        """Write messages in the transaction of `conn`, in their order."""
        bulk_insert(conn, self.table, [self._row(message) for message in messages])

    def wake(self) -> None:
        """Tell the relay of this process that rows were committed."""
        self._wake.set()

    def wait(self, timeout: timedelta) -> None:
        """Wait until rows were committed by this process, or until `timeout` is over."""
        self._wake.wait(timeout.total_seconds())
        self._wake.clear()

    def _row(self, message: OutMessage) -> dict[str, Any]:
        return {
            "id": message.id,
            "aggregatetype": message.topic,
            "aggregateid": message.key,
            "type": message.type,
            "payload": message.data,
            "headers": message.headers(self._source),
            "create_time": message.time,
        }
