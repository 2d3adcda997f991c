"""Settings from the environment."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from chassis.settings import KafkaSettings, ServiceSettings
from services.intake.settings import IntakeSettings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    import os  # noqa: PLC0415

    for name in list(os.environ):
        if name.startswith(("PAIDAN_", "KAFKA_", "DATABASE_")):
            monkeypatch.delenv(name)


def test_everything_has_a_default() -> None:
    settings = IntakeSettings()

    assert settings.grpc_threads == 16
    assert settings.watch_interval == timedelta(milliseconds=250)
    assert settings.kafka.client_options() == {"bootstrap_servers": ["127.0.0.1:9092"], "security_protocol": "PLAINTEXT"}


def test_the_environment_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "DATABASE_URL": "postgresql+psycopg://u:secret@h/d",
        "PAIDAN_GRPC_ADDRESS": "0.0.0.0:1",
        "PAIDAN_DRAIN_GRACE": "PT7S",
        "PAIDAN_INTAKE_SUBMIT_GROUP": "3",
        "KAFKA_BOOTSTRAP": "a:1,b:2",
    }.items():
        monkeypatch.setenv(name, value)

    settings = IntakeSettings()

    assert settings.database_url.get_secret_value() == "postgresql+psycopg://u:secret@h/d"
    assert (settings.grpc_address, settings.drain_grace, settings.submit_group) == ("0.0.0.0:1", timedelta(seconds=7), 3)
    assert settings.kafka.client_options()["bootstrap_servers"] == ["a:1", "b:2"]


def test_no_secret_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://u:secret@h/d")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "secret")

    assert "secret" not in repr(IntakeSettings())


def test_the_security_of_a_cluster_is_passed_through(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SSL_CAFILE": "/ca.pem",
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-256",
        "KAFKA_SASL_USERNAME": "intake",
        "KAFKA_SASL_PASSWORD": "secret",
    }.items():
        monkeypatch.setenv(name, value)

    assert KafkaSettings().client_options() == {
        "bootstrap_servers": ["127.0.0.1:9092"],
        "security_protocol": "SASL_SSL",
        "ssl_cafile": "/ca.pem",
        "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_plain_username": "intake",
        "sasl_plain_password": "secret",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [("PAIDAN_GRPC_THREADS", "0"), ("PAIDAN_INTAKE_SUBMIT_GROUP", "0"), ("PAIDAN_LOG_LEVEL", "LOUD"), ("PAIDAN_RELAY_BATCH", "x")],
)
def test_a_value_that_makes_no_sense_ends_the_start(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(ValidationError):
        IntakeSettings()


def test_every_setting_is_described() -> None:
    for kind in (KafkaSettings, ServiceSettings, IntakeSettings):
        assert [name for name, field in kind.model_fields.items() if not field.description] == []
