"""Alembic environment of the schema `classifier`."""

from chassis.migrations import run_environment
from services.classifier.adapters.tables import SCHEMA, metadata

run_environment(SCHEMA, metadata)
