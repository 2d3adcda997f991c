"""Indexes that keep the outbox's waiting rows apart from its ready ones."""

from __future__ import annotations

from chassis.migrations import create_outbox_indexes, drop_outbox_indexes

revision = "0003"
down_revision = "0002"

SCHEMA = "dispatcher"


def upgrade() -> None:
    """Apply."""
    create_outbox_indexes(SCHEMA)


def downgrade() -> None:
    """Undo."""
    drop_outbox_indexes(SCHEMA)
