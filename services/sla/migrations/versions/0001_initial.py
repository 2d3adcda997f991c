"""Tickets' clocks, deadlines, tallies, activations of calendars, inbox and outbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from chassis.migrations import create_messaging

revision = "0001"
down_revision = None

SCHEMA = "sla"
INSTANT = sa.DateTime(timezone=True)
RUNNING = sa.text("state = 'running'")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "ticket_clock",
        sa.Column("ticket_id", sa.Text, primary_key=True),
        sa.Column("portal", sa.Text, comment="NULL until the submission is known"),
        sa.Column("lead_unit", sa.Text, comment="NULL while nobody leads"),
        sa.Column("facts", JSONB, nullable=False, comment="what happened, as far as known"),
        sa.Column("check_time", INSTANT, comment="when a tick has to look; NULL: never as it stands"),
        sa.Column("calendar_version", sa.Text, nullable=False),
        sa.Column("is_open", sa.Boolean, nullable=False, comment="the outcome of a deadline is not known yet"),
        schema=SCHEMA,
    )
    op.create_index("ticket_clock_check", "ticket_clock", ["check_time"], schema=SCHEMA, postgresql_where=sa.text("check_time IS NOT NULL"))
    op.create_index("ticket_clock_calendar", "ticket_clock", ["calendar_version"], schema=SCHEMA, postgresql_where=sa.text("is_open"))
    op.create_table(
        "deadline",
        sa.Column("ticket_id", sa.Text, sa.ForeignKey(f"{SCHEMA}.ticket_clock.ticket_id"), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("cycle", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("start_time", INSTANT, nullable=False),
        sa.Column("due_time", INSTANT, comment="exclusive; NULL while paused or while no calendar reaches so far"),
        sa.Column("original_due_time", INSTANT),
        sa.Column("at_risk_time", INSTANT),
        sa.Column("at_risk_due_time", INSTANT, comment="the due time that was warned of"),
        sa.Column("breach_time", INSTANT),
        sa.Column("finish_time", INSTANT),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("extension_workdays", sa.Integer, nullable=False),
        sa.Column("is_over", sa.Boolean, nullable=False),
        sa.Column("announced", JSONB, nullable=False, comment="keys of the changes that were announced"),
        sa.PrimaryKeyConstraint("ticket_id", "kind", "cycle"),
        schema=SCHEMA,
    )
    op.create_index("deadline_due", "deadline", ["due_time", "ticket_id", "kind", "cycle"], schema=SCHEMA, postgresql_where=RUNNING)
    op.create_index(
        "deadline_due_of_unit",
        "deadline",
        ["unit", "due_time", "ticket_id", "kind", "cycle"],
        schema=SCHEMA,
        postgresql_where=RUNNING,
    )
    op.create_table(
        "deadline_tally",
        sa.Column("slot", sa.SmallInteger, nullable=False, comment="spreads writers, so that they do not wait for each other; sum over it"),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("tally", sa.Text, nullable=False),
        sa.Column("deadlines", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("slot", "kind", "tally"),
        schema=SCHEMA,
        comment="how many deadlines are open, so that nobody counts them all",
    )
    op.create_table(
        "calendar_activation",
        sa.Column("seq", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("activate_time", INSTANT, nullable=False),
        schema=SCHEMA,
    )
    create_messaging(SCHEMA)


def downgrade() -> None:
    """Undo."""
    for table in ("outbox", "inbox", "calendar_activation", "deadline_tally", "deadline", "ticket_clock"):
        op.drop_table(table, schema=SCHEMA)
