"""Starts the real parts, Apache Kafka and PostgreSQL, on a laptop or in CI, without containers."""
