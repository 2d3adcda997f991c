"""Alembic environment of the schema `dispatcher`."""

from chassis.migrations import run_environment
from services.dispatcher.adapters.tables import SCHEMA, metadata

run_environment(SCHEMA, metadata)
