"""`paidan dlq` on a real broker: dead letters that were cut are skipped, and unreadable records stop nothing."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient
from typer.testing import CliRunner

from chassis.dead_letter import dead_letter, dead_letter_topic
from chassis.message import new_id
from cli.connection import VARIABLE
from cli.main import app
from tests.unit.chassis.builders import ARecord

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)


@pytest.fixture
def topic(kafka_bootstrap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A topic with dead letters, in a running Paidan as far as this command sees it."""
    name = f"receipts.{new_id()}.v1"
    with closing(KafkaAdminClient(bootstrap_servers=kafka_bootstrap)) as admin:
        wanted = {each: {"num_partitions": 1} for each in (name, dead_letter_topic(name))}
        admin.create_topics(wanted, timeout_ms=20_000, wait_for_metadata=True)
    connection = tmp_path / "connection.json"
    connection.write_text(
        json.dumps(
            {
                "kafka_bootstrap": kafka_bootstrap,
                "database_url": "postgresql+psycopg://nobody@127.0.0.1:1/nothing",
                **dict.fromkeys(("intake", "classifier", "dispatcher", "sla"), "127.0.0.1:1"),
            }
        ),
        encoding="utf-8",
    )
    monkeypatch.setenv(VARIABLE, str(connection))
    return name


def bury(bootstrap: str, *records: ARecord) -> None:
    with closing(KafkaProducer(bootstrap_servers=bootstrap)) as producer:
        for record in records:
            letter = dead_letter(record, consumer="probe", reason="NONSENSE", detail="it makes no sense", now=NOW)
            headers = [(name, text.encode()) for name, text in letter.headers("/probe")]
            producer.send(letter.topic, letter.data, letter.key.encode(), headers).get(timeout=20)


def read(bootstrap: str, topic: str) -> list[Any]:
    consumer = KafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=3000)
    try:
        return list(consumer)
    finally:
        consumer.close(autocommit=False)


def test_a_letter_is_redriven_under_its_own_key_and_one_that_was_cut_is_skipped_with_a_warning(kafka_bootstrap: str, topic: str) -> None:
    whole = ARecord(b"whole", key=b"ticket-1", headers=[("ce_id", b"1")], topic=topic)
    bury(kafka_bootstrap, ARecord(b"v" * 2_000_000, key=b"ticket-2", topic=topic), whole)

    listed = CliRunner().invoke(app, ["dlq", "list", "--json"], catch_exceptions=False)
    redriven = CliRunner().invoke(app, ["dlq", "redrive", topic], catch_exceptions=False)

    letters = [each for each in map(json.loads, listed.stdout.splitlines()) if each["topic"] == topic]
    assert [(each["key"], each["truncated"]) for each in letters] == [("ticket-2", "value"), ("ticket-1", "")]
    assert redriven.exit_code == 0
    assert "redriven 1" in redriven.stdout
    assert "its value was cut" in " ".join(redriven.stdout.split())
    (record,) = read(kafka_bootstrap, topic)
    assert (record.key, record.value) == (b"ticket-1", b"whole")
    assert [name for name, _ in record.headers] == ["ce_id", "redrive_time"]


def test_when_all_letters_were_cut_the_command_fails_and_says_so(kafka_bootstrap: str, topic: str) -> None:
    bury(kafka_bootstrap, ARecord(b"v", key=b"k" * 2000, topic=topic))

    redriven = CliRunner().invoke(app, ["dlq", "redrive", topic])

    assert redriven.exit_code == 1
    assert "its key was cut" in " ".join(redriven.output.split())
    assert read(kafka_bootstrap, topic) == []


def test_a_letter_that_cannot_be_read_is_skipped_with_a_warning(kafka_bootstrap: str, topic: str) -> None:
    with closing(KafkaProducer(bootstrap_servers=kafka_bootstrap, compression_type="gzip", max_request_size=10**9)) as producer:
        producer.send(dead_letter_topic(topic), bytes(64 * 1024 * 1024)).get(timeout=20)
    bury(kafka_bootstrap, ARecord(b"whole", key=b"ticket-1", topic=topic))

    listed = CliRunner().invoke(app, ["dlq", "list", "--json"], catch_exceptions=False)

    letters = [each for each in map(json.loads, listed.stdout.splitlines()) if each["topic"] == topic]
    assert [each["key"] for each in letters] == ["ticket-1"]
    assert "unpacks to more than" in " ".join(listed.stderr.split())
