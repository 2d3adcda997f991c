"""Tickets, contacts, changes, request keys, numbers, enterprises, inbox and outbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from chassis.migrations import create_messaging

revision = "0001"
down_revision = None

SCHEMA = "intake"
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "ticket",
        sa.Column("ticket_id", sa.Text, primary_key=True),
        sa.Column("number", sa.Text, nullable=False, unique=True),
        sa.Column("portal", sa.Text, nullable=False),
        sa.Column("uscc", sa.Text, nullable=False),
        sa.Column("enterprise_name", sa.Text, nullable=False),
        sa.Column("enterprise_district", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("district", sa.Text, nullable=False),
        sa.Column("confidential", sa.Boolean, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("create_time", INSTANT, nullable=False),
        sa.Column("update_time", INSTANT, nullable=False),
        sa.Column("due_time", INSTANT),
        sa.Column("lead_unit", sa.Text),
        sa.Column("co_handler_units", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("class_code", sa.Text),
        sa.Column("dispatch_epoch", sa.Integer, nullable=False),
        sa.Column("supplement_question", sa.Text, nullable=False),
        sa.Column("resolution", sa.Text, nullable=False),
        sa.Column("resolve_time", INSTANT),
        sa.Column("decline_reason", sa.Text, nullable=False),
        sa.Column("solved", sa.Text),
        sa.Column("score", sa.SmallInteger),
        sa.Column("rating_comment", sa.Text),
        sa.Column("rate_time", INSTANT),
        sa.Column("reopen_count", sa.Integer, nullable=False),
        schema=SCHEMA,
    )
    op.create_index("ticket_newest", "ticket", ["create_time", "ticket_id"], schema=SCHEMA)
    op.create_index("ticket_of_portal", "ticket", ["portal", "create_time", "ticket_id"], schema=SCHEMA)
    op.create_index("ticket_of_enterprise", "ticket", ["uscc", "create_time", "ticket_id"], schema=SCHEMA)
    op.create_index("ticket_resolved", "ticket", ["resolve_time"], schema=SCHEMA, postgresql_where=sa.text("state = 'RESOLVED'"))
    op.create_table(
        "contact",
        sa.Column("ticket_id", sa.Text, sa.ForeignKey(f"{SCHEMA}.ticket.ticket_id"), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("phone", sa.Text, nullable=False),
        schema=SCHEMA,
        comment="personal data: read by GetContact only",
    )
    op.create_table(
        "contact_look",
        sa.Column("look_id", sa.Text, primary_key=True),
        sa.Column("ticket_id", sa.Text, nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("look_time", INSTANT, nullable=False),
        schema=SCHEMA,
    )
    op.create_index("contact_look_of_ticket", "contact_look", ["ticket_id"], schema=SCHEMA)
    op.create_table(
        "ticket_change",
        sa.Column("ticket_id", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("occur_time", INSTANT, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("unit", sa.Text),
        sa.Column("note", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("ticket_id", "version"),
        schema=SCHEMA,
    )
    op.create_table(
        "request_key",
        sa.Column("portal", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False, comment="submit, or the id of the ticket"),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("ticket_id", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("portal", "scope", "request_id"),
        schema=SCHEMA,
    )
    op.create_table(
        "number_counter",
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("district", sa.Text, nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("day", "district"),
        schema=SCHEMA,
    )
    op.create_table(
        "enterprise",
        sa.Column("uscc", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("district", sa.Text, nullable=False),
        schema=SCHEMA,
    )
    create_messaging(SCHEMA)


def downgrade() -> None:
    """Undo."""
    for table in ("outbox", "inbox", "enterprise", "number_counter", "request_key", "ticket_change", "contact_look", "contact", "ticket"):
        op.drop_table(table, schema=SCHEMA)
