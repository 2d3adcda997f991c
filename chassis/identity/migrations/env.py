"""Alembic environment of the schema `identity`."""

from chassis.identity.tokens import SCHEMA, metadata
from chassis.migrations import run_environment

run_environment(SCHEMA, metadata)
