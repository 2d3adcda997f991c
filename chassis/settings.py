"""Settings that every service has, from environment variables. Each service adds its own in a subclass."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

SECOND = timedelta(seconds=1)


class KafkaSettings(BaseSettings):
    """How to reach Kafka: `KAFKA_*`."""

    model_config = SettingsConfigDict(env_prefix="KAFKA_", frozen=True)

    bootstrap: str = Field("127.0.0.1:9092", description="Brokers, `host:port`, separated by commas.")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Protocol to the brokers."
    )
    ssl_cafile: Path | None = Field(None, description="PEM file of the certification authority.")
    ssl_certfile: Path | None = Field(None, description="PEM file of the client's certificate.")
    ssl_keyfile: Path | None = Field(None, description="PEM file of the client's key.")
    sasl_mechanism: str | None = Field(None, description="E.g. `SCRAM-SHA-256`.")
    sasl_username: str | None = Field(None, description="User name.")
    sasl_password: SecretStr | None = Field(None, description="Password.")

    def client_options(self) -> dict[str, object]:
        """Return the keyword arguments that every client of `kafka-python` takes, absent ones left out."""
        options: dict[str, object] = {
            "bootstrap_servers": self.bootstrap.split(","),
            "security_protocol": self.security_protocol,
            "ssl_cafile": self.ssl_cafile and str(self.ssl_cafile),
            "ssl_certfile": self.ssl_certfile and str(self.ssl_certfile),
            "ssl_keyfile": self.ssl_keyfile and str(self.ssl_keyfile),
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_plain_username": self.sasl_username,
            "sasl_plain_password": self.sasl_password and self.sasl_password.get_secret_value(),
        }
        return {name: value for name, value in options.items() if value is not None}


class ServiceSettings(BaseSettings):
    """What every service needs: `PAIDAN_*`, and `DATABASE_URL`."""

    model_config = SettingsConfigDict(env_prefix="PAIDAN_", frozen=True, populate_by_name=True)

    database_url: SecretStr = Field(
        SecretStr("postgresql+psycopg://127.0.0.1/paidan"),
        validation_alias="DATABASE_URL",
        description="PostgreSQL, in SQLAlchemy's form. The service works in its own schema under its own role.",
    )
    kafka: KafkaSettings = Field(default_factory=KafkaSettings, description="See `KAFKA_*`.")
    grpc_address: str = Field("127.0.0.1:50051", description="Where the service's RPCs are served, `host:port`.")
    health_address: str = Field("127.0.0.1:50151", description="Where health alone is served, apart from the load, `host:port`.")
    metrics_address: str = Field("127.0.0.1:9464", description="Where Prometheus scrapes, `host:port`.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is logged.")
    grpc_threads: int = Field(16, ge=1, le=256, description="Threads that run unary RPCs.")
    grpc_max_in_flight: int = Field(256, ge=1, description="Unary RPCs in hand at once; more are refused with OVERLOADED.")
    database_pool_size: int = Field(8, ge=1, description="Connections kept to the database.")
    token_cache_lifetime: timedelta = Field(
        5 * SECOND, description="How long a checked token is believed; a revocation takes this long at most."
    )
    consumer_session_timeout: timedelta = Field(
        6 * SECOND, description="After this a dead consumer's partitions go to another; the broker's least is 6 s."
    )
    consumer_batch: int = Field(200, ge=1, le=5000, description="Most messages in one transaction.")
    consumer_linger: timedelta = Field(
        timedelta(milliseconds=100), description="How long the brokers gather messages before they hand them over together."
    )
    relay_pace: timedelta = Field(
        timedelta(milliseconds=50),
        description="Least time between two readings of the outbox; a message that comes alone does not wait for it.",
    )
    relay_interval: timedelta = Field(SECOND / 4, description="How often the outbox is read when nothing wakes the relay.")
    relay_batch: int = Field(500, ge=1, le=5000, description="Most outbox rows published at once.")
    inbox_retention: timedelta = Field(
        timedelta(days=45), description="How long message ids are remembered; longer than any topic keeps messages."
    )
    drain_grace: timedelta = Field(20 * SECOND, description="Time to finish what is in hand after SIGTERM; past it the process exits hard.")
