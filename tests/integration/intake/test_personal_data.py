"""Contacts stay in intake: a whole service runs, with real Kafka, and a unique name and phone leave no trace outside its tables."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from sqlalchemy import text

from chassis.caller import Role
from chassis.kafka_records import CONSUMER_OPTIONS
from deploy.local.ports import free_port
from deploy.topics import all_topics, create_topics
from paidan.dispatcher.v1 import events_pb2
from paidan.intake.v1 import ticket_pb2
from services.intake.adapters.events import DISPATCHER_TOPIC, TOPIC
from services.intake.adapters.kafka import GROUP, TOPICS
from tests.integration.intake.harness import Client, a_request, refusal
from tests.support.waiting import eventually
from tests.unit.intake.builders import LEAD, STRANGER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.intake.harness import Store

NAME = f"欧阳{uuid.uuid4().hex[:6]}"
PHONE = f"+86 199-{uuid.uuid4().int % 10**8:08d}"


class Service:
    """`python -m services.intake` with its log in a file."""

    def __init__(self, store: Store, bootstrap: str, log: Path) -> None:
        self.address, self.metrics = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.log = log
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PAIDAN_", "KAFKA_"))},
            "DATABASE_URL": store.url,
            "KAFKA_BOOTSTRAP": bootstrap,
            "PAIDAN_GRPC_ADDRESS": self.address,
            "PAIDAN_HEALTH_ADDRESS": f"127.0.0.1:{free_port()}",
            "PAIDAN_METRICS_ADDRESS": self.metrics,
            "PAIDAN_LOG_LEVEL": "DEBUG",
        }
        with log.open("wb") as file:
            self.process = subprocess.Popen([sys.executable, "-m", "services.intake"], stdout=file, stderr=file, env=environment)

    def scrape(self) -> str:
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=10) as answer:
            return answer.read().decode()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@pytest.fixture
def service(own_store: Store, kafka_bootstrap: str, tmp_path: Path) -> Iterator[Service]:
    create_topics({"bootstrap_servers": [kafka_bootstrap]})
    _pass_over_what_others_told(kafka_bootstrap)
    started = Service(own_store, kafka_bootstrap, tmp_path / "intake.log")
    yield started
    if started.process.poll() is None:
        started.process.kill()
        started.process.wait()


def _pass_over_what_others_told(bootstrap: str) -> None:
    """Begin at the topics' ends: what other tests told of tickets that intake never had are dead letters here, and many end the process."""
    consumer: Any = KafkaConsumer(bootstrap_servers=bootstrap, group_id=GROUP, enable_auto_commit=False, metrics_enabled=False)
    places = [TopicPartition(topic, number) for topic in TOPICS for number in consumer.partitions_for_topic(topic)]
    consumer.assign(places)
    consumer.seek_to_end(*places)
    for place in places:
        consumer.position(place)
    consumer.commit()
    consumer.close(autocommit=False)


def test_a_contact_is_in_no_topic_no_log_and_no_metric(own_store: Store, service: Service, kafka_bootstrap: str) -> None:
    with grpc.insecure_channel(service.address) as channel:
        eventually(lambda: _ready(channel, service), "open door", within=60)
        portal = Client(channel, own_store.token(Role.PORTAL, "yukuaiban"))
        lead, stranger = (Client(channel, own_store.token(Role.UNIT, unit)) for unit in (LEAD, STRANGER))
        contact = ticket_pb2.Contact(name=NAME, phone=PHONE)
        request = a_request(contact=contact)

        # What goes well.
        ticket = portal.SubmitTicket(request).ticket
        portal.SubmitTicket(request)
        _tell(kafka_bootstrap, ticket.ticket_id)
        eventually(
            lambda: portal.GetTicket(ticket_id=ticket.number).ticket.state == ticket_pb2.TICKET_STATE_AWAITING_SUPPLEMENT, "a question"
        )
        portal.SupplementTicket(ticket_id=ticket.ticket_id, request_id="s-1", text="合同在此")
        looked = lead.GetContact(ticket_id=ticket.ticket_id).contact
        # What goes wrong.
        refusal(lambda: stranger.GetContact(ticket_id=ticket.ticket_id))
        refusal(lambda: portal.SubmitTicket(a_request(request_id=request.request_id, contact=contact, text="另一件事")))
        wrong = refusal(lambda: portal.SubmitTicket(a_request(contact=ticket_pb2.Contact(name=NAME * 20, phone=PHONE + "x"))))
        with _contact_table_refuses(own_store):
            broken = refusal(lambda: portal.SubmitTicket(a_request(contact=contact)))
        portal.WithdrawTicket(ticket_id=ticket.ticket_id)
        eventually(lambda: _outbox_is_empty(own_store), "empty outbox")
        scraped = service.scrape()
        code = service.stop()
    topics = _all_bytes(kafka_bootstrap)
    logged = service.log.read_bytes()

    assert looked == contact
    assert broken.reason == "INTERNAL"
    assert code == 0
    assert ticket.ticket_id.encode() in topics
    assert b"rpc_failed" in logged
    assert "paidan_intake_tickets_submitted_total" in scraped
    for secret in (NAME, PHONE, PHONE.replace("-", "")[-11:]):
        assert secret.encode() not in topics
        assert secret.encode() not in logged
        assert secret.encode("unicode_escape") not in logged
        assert secret not in scraped
        assert secret not in broken.message
        assert secret not in wrong.message


class _contact_table_refuses:  # noqa: N801 - reads as a function
    """Lets PostgreSQL refuse contacts, with an error that quotes the row."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __enter__(self) -> None:
        with self._store.admin.begin() as conn:
            conn.execute(text("ALTER TABLE intake.contact ADD CONSTRAINT nobody CHECK (name = '') NOT VALID"))

    def __exit__(self, *_: object) -> None:
        with self._store.admin.begin() as conn:
            conn.execute(text("ALTER TABLE intake.contact DROP CONSTRAINT nobody"))


def _ready(channel: grpc.Channel, service: Service) -> bool:
    assert service.process.poll() is None, service.log.read_text()
    try:
        grpc.channel_ready_future(channel).result(timeout=0.5)
    except grpc.FutureTimeoutError:
        return False
    return True


def _tell(bootstrap: str, ticket_id: str) -> None:
    """Write what the dispatcher would: a dispatch, a question, and something that nobody can read."""
    now = datetime.now(UTC)
    dispatched = events_pb2.TicketDispatched(ticket_id=ticket_id, epoch=1, lead_unit=LEAD, explanation_zh="按类别派单")
    asked = events_pb2.SupplementRequested(ticket_id=ticket_id, epoch=1, unit=LEAD, question="请补充合同")
    dispatched.dispatch_time.FromDatetime(now)
    asked.request_time.FromDatetime(now)
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    try:
        for number, (kind, value) in enumerate(
            [
                (dispatched, dispatched.SerializeToString()),
                (asked, b"\xff\xff"),
                (asked, asked.SerializeToString()),
            ],
        ):
            headers = [("ce_id", f"{ticket_id}-{number}".encode()), ("ce_type", kind.DESCRIPTOR.full_name.encode())]
            producer.send(DISPATCHER_TOPIC, value, ticket_id.encode(), headers).get(timeout=20)
    finally:
        producer.close(timeout=5)


def _outbox_is_empty(store: Store) -> bool:
    with store.admin.connect() as conn:
        return conn.scalar(text("SELECT count(*) FROM intake.outbox")) == 0


def _all_bytes(bootstrap: str) -> bytes:
    """Return every key, value and header on every topic of the product.

    Topics of other tests hold batches that no client can read, which the plain client would try for ever.
    """
    consumer: Any = KafkaConsumer(bootstrap_servers=bootstrap, **CONSUMER_OPTIONS, enable_auto_commit=False, metrics_enabled=False)
    try:
        topics = sorted(consumer.topics() & set(all_topics()))
        assert TOPIC in topics
        places = [TopicPartition(topic, partition) for topic in topics for partition in consumer.partitions_for_topic(topic)]
        ends = {place: end for place, end in consumer.end_offsets(places).items() if end}
        consumer.assign(list(ends))
        consumer.seek_to_beginning(*ends)
        found = []
        while any(consumer.position(place) < end for place, end in ends.items()):
            for records in consumer.poll(timeout_ms=500).values():
                for record in records:
                    found += [
                        record.key or b"",
                        record.value if isinstance(record.value, bytes) else b"",
                        *(part for header in record.headers for part in (header[0].encode(), header[1] or b"")),
                    ]
        return b"\n".join(found)
    finally:
        consumer.close()
