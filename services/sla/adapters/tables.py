"""Tables of clocks, deadlines, their tallies and calendars."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from chassis.inbox import inbox_table
from chassis.outbox import outbox_table

SCHEMA = "sla"

metadata = MetaData(schema=SCHEMA)

_INSTANT = DateTime(timezone=True)
_RUNNING = text("state = 'running'")

ticket_clock = Table(
    "ticket_clock",
    metadata,
    Column("ticket_id", Text, primary_key=True),
    Column("portal", Text, comment="NULL until the submission is known"),
    Column("lead_unit", Text, comment="NULL while nobody leads"),
    Column("facts", JSONB, nullable=False, comment="what happened, as far as known"),
    Column("check_time", _INSTANT, comment="when a tick has to look; NULL: never as it stands"),
    Column("calendar_version", Text, nullable=False),
    Column("is_open", Boolean, nullable=False, comment="the outcome of a deadline is not known yet"),
    Index("ticket_clock_check", "check_time", postgresql_where=text("check_time IS NOT NULL")),
    Index("ticket_clock_calendar", "calendar_version", postgresql_where=text("is_open")),
)

deadline_table = Table(
    "deadline",
    metadata,
    Column("ticket_id", Text, ForeignKey(ticket_clock.c.ticket_id), nullable=False),
    Column("kind", Text, nullable=False),
    Column("cycle", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("start_time", _INSTANT, nullable=False),
    Column("due_time", _INSTANT, comment="exclusive; NULL while paused or while no calendar reaches so far"),
    Column("original_due_time", _INSTANT),
    Column("at_risk_time", _INSTANT),
    Column("at_risk_due_time", _INSTANT, comment="the due time that was warned of"),
    Column("breach_time", _INSTANT),
    Column("finish_time", _INSTANT),
    Column("unit", Text, nullable=False),
    Column("extension_workdays", Integer, nullable=False),
    Column("is_over", Boolean, nullable=False),
    Column("announced", JSONB, nullable=False, comment="keys of the changes that were announced"),
    PrimaryKeyConstraint("ticket_id", "kind", "cycle"),
    Index("deadline_due", "due_time", "ticket_id", "kind", "cycle", postgresql_where=_RUNNING),
    Index("deadline_due_of_unit", "unit", "due_time", "ticket_id", "kind", "cycle", postgresql_where=_RUNNING),
)

deadline_tally = Table(
    "deadline_tally",
    metadata,
    Column("slot", SmallInteger, nullable=False, comment="spreads writers, so that they do not wait for each other; sum over it"),
    Column("kind", Text, nullable=False),
    Column("tally", Text, nullable=False),
    Column("deadlines", BigInteger, nullable=False),
    PrimaryKeyConstraint("slot", "kind", "tally"),
    comment="how many deadlines are open, so that nobody counts them all",
)

calendar_activation = Table(
    "calendar_activation",
    metadata,
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    Column("version", Text, nullable=False),
    Column("activate_time", _INSTANT, nullable=False),
)

outbox = outbox_table(metadata)
inbox = inbox_table(metadata)
