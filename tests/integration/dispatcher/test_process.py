"""The service as a process of its own, between a real Kafka and a real PostgreSQL."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import json_format
from grpc_health.v1 import health_pb2, health_pb2_grpc
from kafka import KafkaConsumer, KafkaProducer

from chassis.migrations import migrate
from deploy.local.ports import free_port
from deploy.topics import create_topics
from paidan.dispatcher.v1 import dispatch_pb2, unit_messages_pb2
from services import dispatcher
from tests.conftest import fresh_database
from tests.integration.dispatcher.harness import classified, new_ticket, stamp, submitted
from tests.unit.dispatcher.builders import INDUSTRY, YUZHONG

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.local.parts import LocalParts
    from tests.integration.dispatcher.harness import FakeRecord

ROOT = Path(__file__).parents[3]
PATIENCE_SECONDS = 60


class Service:
    """A running dispatcher and the Kafka around it."""

    def __init__(self, bootstrap: str, metrics: str, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._metrics = metrics
        self._bootstrap = bootstrap
        self._producer = KafkaProducer(bootstrap_servers=bootstrap)

    def close(self) -> None:
        self._producer.close()

    def send(self, *records: FakeRecord) -> None:
        futures = [self._producer.send(each.topic, each.value, each.key, list(each.headers)) for each in records]
        self._producer.flush()
        for future in futures:
            future.get(timeout=PATIENCE_SECONDS)

    def answer(self, unit: str, body: dict[str, Any] | bytes) -> None:
        """Answer as `kcat` would: JSON, no key, no headers."""
        value = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._producer.send(f"receipts.{unit}.v1", value).get(timeout=PATIENCE_SECONDS)

    def messages(self, unit: str, ticket_id: str, count: int) -> list[unit_messages_pb2.UnitMessage]:
        """Read a unit's topic until it holds `count` messages about a ticket."""
        found: list[unit_messages_pb2.UnitMessage] = []
        consumer = KafkaConsumer(f"dispatch.{unit}.v1", bootstrap_servers=self._bootstrap, auto_offset_reset="earliest", group_id=None)
        end = time.monotonic() + PATIENCE_SECONDS
        try:
            while len(found) < count and time.monotonic() < end:
                for records in consumer.poll(timeout_ms=200).values():
                    read = [json_format.Parse(record.value, unit_messages_pb2.UnitMessage()) for record in records]
                    found += [message for message in read if ticket_id in {message.ticket_id, ""}]
        finally:
            consumer.close()
        assert len(found) >= count, f"{unit} got {len(found)} of {count} messages"
        return found

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://{self._metrics}/metrics", timeout=5) as response:
            return str(response.read().decode())


@pytest.fixture(scope="module")
def service(parts: LocalParts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    create_topics({"bootstrap_servers": parts.kafka_bootstrap})
    with fresh_database(parts.database_url) as url:
        migrate(url, {"dispatcher": Path(dispatcher.__file__).parent / "migrations"})
        with run_service(parts.kafka_bootstrap, url, tmp_path_factory.mktemp("dispatcher") / "log") as running:
            yield running


@contextmanager
def run_service(bootstrap: str, url: str, log: Path) -> Iterator[Service]:
    health, metrics = (f"127.0.0.1:{free_port()}" for _ in range(2))
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP": bootstrap,
        "DATABASE_URL": url,
        "PAIDAN_GRPC_ADDRESS": f"127.0.0.1:{free_port()}",
        "PAIDAN_HEALTH_ADDRESS": health,
        "PAIDAN_METRICS_ADDRESS": metrics,
        "PAIDAN_DISPATCHER_RULES_AFTER": "PT2S",
        "PAIDAN_DISPATCHER_FALLBACK_AFTER": "PT4S",
    }
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", "services.dispatcher"], cwd=ROOT, env=environment, stderr=output)
    try:
        with grpc.insecure_channel(health) as channel:
            ready = grpc.channel_ready_future(channel)
            while not ready.done() and process.poll() is None:
                time.sleep(0.1)
            stub = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_SECONDS)  # type: ignore[attr-defined]  # its stubs lack it
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        running = Service(bootstrap, metrics, process)
        yield running
        running.close()
    finally:
        process.terminate()
        code = process.wait(PATIENCE_SECONDS)
    assert code == 0, log.read_text(encoding="utf-8")


def test_a_classified_ticket_reaches_its_units_and_their_answers_come_back(service: Service) -> None:
    ticket_id = new_ticket()
    service.send(submitted(ticket_id, at=datetime.now(UTC)), classified(ticket_id))
    [order] = service.messages(INDUSTRY, ticket_id, 1)
    [helping] = service.messages(YUZHONG, ticket_id, 1)

    service.answer(INDUSTRY, {"receiptId": "p-1", "ticketId": ticket_id, "epoch": order.epoch, "accept": {}})
    service.answer(YUZHONG, {"receiptId": "p-2", "ticketId": ticket_id, "epoch": order.epoch, "accept": {}})
    refused = service.messages(YUZHONG, ticket_id, 2)[-1]

    assert order.order.role == unit_messages_pb2.UNIT_ROLE_LEAD
    assert helping.order.role == unit_messages_pb2.UNIT_ROLE_CO_HANDLER
    assert (refused.refused.receipt_id, refused.refused.reason) == ("p-2", "ERROR_REASON_NOT_LEAD_UNIT")


def test_without_the_classifier_a_ticket_goes_by_rules_or_to_the_duty_desk(service: Service) -> None:
    plain, vague = new_ticket(), new_ticket()
    start = datetime.now(UTC)
    service.send(submitted(plain, at=start, text="变压器增容报装"), submitted(vague, at=start, text="有个事情想反映一下"))

    [by_rules] = service.messages(INDUSTRY, plain, 1)
    [held] = service.messages("dutydesk", vague, 1)

    assert by_rules.order.method == dispatch_pb2.DISPATCH_METHOD_RULES
    assert held.order.method == dispatch_pb2.DISPATCH_METHOD_FALLBACK
    assert (held.send_time.ToDatetime(UTC) - start).total_seconds() < 60
    assert held.order.submit_time == stamp(start)


def test_garbage_of_a_unit_is_put_aside_with_its_reason(service: Service, parts: LocalParts) -> None:
    marker = uuid.uuid4().hex

    service.answer("kjj", f"garbage {marker}".encode())

    refused = service.messages("kjj", "", 1)[0]
    assert refused.refused.reason == "ERROR_REASON_UNREADABLE"
    consumer = KafkaConsumer(
        "receipts.kjj.v1.dlq", bootstrap_servers=parts.kafka_bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=20_000
    )
    dead = next(record for record in consumer if marker.encode() in record.value)
    consumer.close()
    assert dict(dead.headers)["dlq_reason"] == b"UNREADABLE"


def test_what_happened_can_be_scraped(service: Service) -> None:
    scraped = service.metrics()

    assert re.search(r'^paidan_dispatcher_dispatches_total\{method="AUTO"\} [1-9]', scraped, re.MULTILINE)
    assert 'paidan_dispatcher_receipts_refused_total{reason="NOT_LEAD_UNIT"}' in scraped
    assert "paidan_dispatcher_triage_waiting" in scraped


def test_a_catalogue_that_contradicts_itself_ends_the_process_with_the_reason(tmp_path: Path) -> None:
    for path in (ROOT / "catalogue").glob("*.csv"):
        (tmp_path / path.name).write_text(path.read_text(encoding="utf-8").replace(",jrb,", ",nobody,"), encoding="utf-8")

    ended = subprocess.run(
        [sys.executable, "-m", "services.dispatcher"],
        cwd=ROOT,
        env={**os.environ, "PAIDAN_DISPATCHER_CATALOGUE": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )

    assert ended.returncode != 0
    assert "its lead 'nobody' is no department" in ended.stderr
