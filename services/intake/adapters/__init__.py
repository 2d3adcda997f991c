"""gRPC, Kafka and PostgreSQL."""
