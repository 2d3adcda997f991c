"""Tables of what models have served, and of what became of tickets."""

from __future__ import annotations

from sqlalchemy import Column, DateTime, Double, Index, MetaData, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from chassis.inbox import inbox_table
from chassis.outbox import outbox_table

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

outcome = Table(
    "outcome",
    metadata,
    Column("ticket_id", Text, primary_key=True),
    Column("text", Text, comment="personal data hidden; NULL until known, and always of confidential tickets"),
    Column("submit_time", DateTime(timezone=True), comment="NULL until known"),
    Column("facts", JSONB, nullable=False, comment="what happened, as far as known"),
    Column("label", Text, comment="class that the facts speak for; NULL: none yet"),
    Column("weight", Double, comment="of the label, 0-1"),
    Column("source", Text, comment="what the label rests on"),
    Column("update_time", DateTime(timezone=True), nullable=False),
    Index("outcome_labelled", "submit_time", postgresql_where=text("label IS NOT NULL")),
    Index("outcome_update_time", "update_time"),
)

shadow_disagreement = Table(
    "shadow_disagreement",
    metadata,
    Column("ticket_id", Text, primary_key=True),
    Column("champion_version", Text, primary_key=True),
    Column("challenger_version", Text, primary_key=True),
    Column("champion_class", Text, nullable=False),
    Column("champion_probability", Double, nullable=False),
    Column("challenger_class", Text, nullable=False),
    Column("challenger_probability", Double, nullable=False),
    Column("classify_time", DateTime(timezone=True), nullable=False),
    Index("shadow_disagreement_time", "classify_time"),
    comment="where a model in the shadow would have answered otherwise",
)

inbox = inbox_table(metadata)
outbox = outbox_table(metadata)
