"""Models that have served."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "model_release",
        sa.Column("version", sa.Text, primary_key=True),
        sa.Column("sha256", sa.Text, primary_key=True, comment="of the file of arrays, hex"),
        sa.Column("card", JSONB, nullable=False),
        sa.Column("activate_time", sa.DateTime(timezone=True), nullable=False, comment="when a replica first served it"),
        schema="classifier",
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("model_release", schema="classifier")
