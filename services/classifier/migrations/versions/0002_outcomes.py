"""What became of tickets, where a model in the shadow disagreed, inbox and outbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from chassis.migrations import create_messaging

revision = "0002"
down_revision = "0001"

SCHEMA = "classifier"
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "outcome",
        sa.Column("ticket_id", sa.Text, primary_key=True),
        sa.Column("text", sa.Text, comment="personal data hidden; NULL until known, and always of confidential tickets"),
        sa.Column("submit_time", INSTANT, comment="NULL until known"),
        sa.Column("facts", JSONB, nullable=False, comment="what happened, as far as known"),
        sa.Column("label", sa.Text, comment="class that the facts speak for; NULL: none yet"),
        sa.Column("weight", sa.Float, comment="of the label, 0-1"),
        sa.Column("source", sa.Text, comment="what the label rests on"),
        sa.Column("update_time", INSTANT, nullable=False),
        schema=SCHEMA,
    )
    op.create_index("outcome_labelled", "outcome", ["submit_time"], schema=SCHEMA, postgresql_where=sa.text("label IS NOT NULL"))
    op.create_index("outcome_update_time", "outcome", ["update_time"], schema=SCHEMA)
    op.create_table(
        "shadow_disagreement",
        sa.Column("ticket_id", sa.Text, primary_key=True),
        sa.Column("champion_version", sa.Text, primary_key=True),
        sa.Column("challenger_version", sa.Text, primary_key=True),
        sa.Column("champion_class", sa.Text, nullable=False),
        sa.Column("champion_probability", sa.Float, nullable=False),
        sa.Column("challenger_class", sa.Text, nullable=False),
        sa.Column("challenger_probability", sa.Float, nullable=False),
        sa.Column("classify_time", INSTANT, nullable=False),
        comment="where a model in the shadow would have answered otherwise",
        schema=SCHEMA,
    )
    op.create_index("shadow_disagreement_time", "shadow_disagreement", ["classify_time"], schema=SCHEMA)
    create_messaging(SCHEMA)


def downgrade() -> None:
    """Undo."""
    for table in ("outbox", "inbox", "shadow_disagreement", "outcome"):
        op.drop_table(table, schema=SCHEMA)
