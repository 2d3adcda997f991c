"""Alembic environment of the schema `sla`."""

from chassis.migrations import run_environment
from services.sla.adapters.tables import SCHEMA, metadata

run_environment(SCHEMA, metadata)
