"""What the classifier keeps in PostgreSQL: which models have served. The hot path never comes here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Self

from sqlalchemy import Column, Connection, DateTime, Engine, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from chassis.sql import bulk_insert

if TYPE_CHECKING:
    from datetime import datetime
    from types import TracebackType

    from services.classifier.domain.classification import ModelRelease

SCHEMA = "classifier"

metadata = MetaData(schema=SCHEMA)

model_release = Table(
    "model_release",
    metadata,
    Column("version", Text, primary_key=True),
    Column("sha256", Text, primary_key=True, comment="of the file of arrays, hex"),
    Column("card", JSONB, nullable=False),
    Column("activate_time", DateTime(timezone=True), nullable=False, comment="when a replica first served it"),
)


class SqlReleases:
    """`ReleaseRepository` in a transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, release: ModelRelease, activate_time: datetime) -> None:
        """Remember a model; the first time that it served is kept."""
        row = {
            "version": release.version,
            "sha256": release.sha256,
            "card": json.loads(release.card),
            "activate_time": activate_time,
        }
        bulk_insert(self._connection, model_release, [row], on_conflict_ignore=True)


class ClassifierUnitOfWork:
    """One transaction. Rolls back on leaving unless `commit` was called."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __enter__(self) -> Self:
        """Open the transaction."""
        self._connection = self._engine.connect()
        self.releases = SqlReleases(self._connection)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Roll back what was not committed and give the connection back."""
        self._connection.close()

    def commit(self) -> None:
        """Make it last."""
        self._connection.commit()
