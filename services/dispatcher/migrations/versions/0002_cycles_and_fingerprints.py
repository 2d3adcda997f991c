"""Adds the cycle of a dispatch, and fingerprint and outcome of units' requests.

Every column has a default or is nullable: the previous release inserts rows without them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

SCHEMA = "dispatcher"


def upgrade() -> None:
    """Apply."""
    op.add_column(
        "dispatch",
        sa.Column(
            "cycle", sa.Integer, nullable=False, server_default="0", comment="0 for the submission, then the number of the reopening"
        ),
        schema=SCHEMA,
    )
    op.add_column(
        "inbox",
        sa.Column(
            "fingerprint", sa.LargeBinary, comment="SHA-256 of a unit's request; NULL: of another kind, or of a release before fingerprints"
        ),
        schema=SCHEMA,
    )
    op.add_column("inbox", sa.Column("refused", sa.Boolean, comment="true if a unit's request was refused"), schema=SCHEMA)


def downgrade() -> None:
    """Undo."""
    op.drop_column("inbox", "refused", schema=SCHEMA)
    op.drop_column("inbox", "fingerprint", schema=SCHEMA)
    op.drop_column("dispatch", "cycle", schema=SCHEMA)
