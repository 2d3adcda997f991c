"""Tickets, dispatches, participants, assignments, decisions, experience, inbox and outbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from chassis.migrations import create_messaging

revision = "0001"
down_revision = None

SCHEMA = "dispatcher"
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "ticket",
        sa.Column("ticket_id", sa.Text, primary_key=True),
        sa.Column("number", sa.Text, nullable=False),
        sa.Column("uscc", sa.Text, nullable=False),
        sa.Column("enterprise_name", sa.Text, nullable=False),
        sa.Column("request_district", sa.Text, nullable=False),
        sa.Column("enterprise_district", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("confidential", sa.Boolean, nullable=False),
        sa.Column("submit_time", INSTANT, nullable=False),
        sa.Column("traceparent", sa.Text, comment="trace that the submission belongs to; what the guard does continues it"),
        schema=SCHEMA,
        comment="what intake said of a ticket; never changes",
    )
    op.create_index("ticket_number", "ticket", ["number"], schema=SCHEMA)
    op.create_table(
        "dispatch",
        sa.Column("ticket_id", sa.Text, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("assignment", JSONB),
        sa.Column("accepted", sa.Boolean, nullable=False),
        sa.Column("leads", JSONB, nullable=False, comment="lead unit of every epoch"),
        sa.Column("bounce_count", sa.Integer, nullable=False),
        sa.Column("final", sa.Boolean, nullable=False),
        sa.Column("triage", JSONB),
        sa.Column("triage_since", INSTANT),
        sa.Column("next_action_time", INSTANT),
        sa.Column("classification", JSONB),
        sa.Column("due_time", INSTANT),
        sa.Column("pending_extension", JSONB),
        sa.Column("supplement_question", sa.Text, nullable=False),
        sa.Column("supplements", JSONB, nullable=False),
        sa.Column("resolution", sa.Text, nullable=False),
        sa.Column("early", JSONB, nullable=False, comment="what came before the ticket: [type, command] pairs"),
        sa.Column("decision_id", sa.Text),
        sa.Column("order_time", INSTANT, comment="time of the assignment, else of the submission; lists are ordered by it"),
        sa.CheckConstraint("(order_time IS NULL) = (state = 'UNSUBMITTED')", name="dispatch_order_time"),
        schema=SCHEMA,
    )
    op.create_index(
        "dispatch_next_action",
        "dispatch",
        ["next_action_time"],
        schema=SCHEMA,
        postgresql_where=sa.text("next_action_time IS NOT NULL"),
    )
    op.create_index("dispatch_newest", "dispatch", ["order_time", "ticket_id"], schema=SCHEMA)
    op.create_index(
        "dispatch_triage",
        "dispatch",
        ["triage_since", "ticket_id"],
        schema=SCHEMA,
        postgresql_where=sa.text("triage_since IS NOT NULL"),
    )
    op.create_table(
        "participant",
        sa.Column("ticket_id", sa.Text, primary_key=True),
        sa.Column("unit", sa.Text, primary_key=True),
        sa.Column("order_time", INSTANT, nullable=False),
        sa.Column("open", sa.Boolean, nullable=False, comment="false once the ticket is resolved, withdrawn or declined"),
        schema=SCHEMA,
        comment="lead and co-handlers of the assignment in force: what a unit may see",
    )
    op.create_index("participant_newest", "participant", ["unit", "order_time", "ticket_id"], schema=SCHEMA)
    op.create_index(
        "participant_open",
        "participant",
        ["unit", "order_time", "ticket_id"],
        schema=SCHEMA,
        postgresql_where=sa.text("open"),
    )
    op.create_table(
        "assignment",
        sa.Column("ticket_id", sa.Text, primary_key=True),
        sa.Column("epoch", sa.Integer, primary_key=True),
        sa.Column("lead_unit", sa.Text, nullable=False),
        sa.Column("co_handlers", JSONB, nullable=False),
        sa.Column("class_code", sa.Text),
        sa.Column("class_probability", sa.Double, nullable=False),
        sa.Column("district_code", sa.Text),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("dispatch_time", INSTANT, nullable=False),
        sa.Column("decision_id", sa.Text, nullable=False),
        sa.Column("accept_time", INSTANT),
        sa.Column("resolve_time", INSTANT),
        sa.Column("end_time", INSTANT, comment="when it was taken from the unit; NULL while in force or resolved"),
        sa.Column("end_reason", sa.Text),
        sa.Column("return_reason", sa.Text),
        sa.Column("suggested_unit", sa.Text),
        schema=SCHEMA,
        comment="every assignment that ever was",
    )
    op.create_table(
        "decision_record",
        sa.Column("decision_id", sa.Text, primary_key=True),
        sa.Column("ticket_id", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("method", sa.Text),
        sa.Column("decide_time", INSTANT, nullable=False),
        sa.Column("decided_by", sa.Text, nullable=False),
        sa.Column("record", JSONB, nullable=False),
        schema=SCHEMA,
        comment="every decision with all that is needed to replay it",
    )
    op.create_index("decision_of_ticket", "decision_record", ["ticket_id", "decide_time"], schema=SCHEMA)
    op.create_table(
        "keep_stat",
        sa.Column("unit", sa.Text, primary_key=True),
        sa.Column("class_code", sa.Text, primary_key=True),
        sa.Column("kept", sa.BigInteger, nullable=False),
        sa.Column("returned", sa.BigInteger, nullable=False),
        schema=SCHEMA,
        comment="what units kept and returned of their own will",
    )
    create_messaging(SCHEMA)


def downgrade() -> None:
    """Undo."""
    for table in ("outbox", "inbox", "keep_stat", "decision_record", "assignment", "participant", "dispatch", "ticket"):
        op.drop_table(table, schema=SCHEMA)
