"""Alembic environment of the schema `intake`."""

from chassis.migrations import run_environment
from services.intake.adapters.tables import SCHEMA, metadata

run_environment(SCHEMA, metadata)
