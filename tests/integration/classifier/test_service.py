from __future__ import annotations

import signal
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.request import urlopen

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from kafka import KafkaConsumer
from kafka.admin import KafkaAdminClient
from sqlalchemy import create_engine, select, text

from chassis.caller import Caller, Role
from chassis.identity import tokens
from chassis.instant import to_timestamp
from chassis.message import InMessage, proto_message, read_record
from chassis.producer import Producer
from chassis.sql import build_engine
from paidan.classifier.v1 import classifier_service_pb2 as pb
from paidan.classifier.v1 import events_pb2
from paidan.classifier.v1.classifier_service_pb2_grpc import ClassifierServiceStub
from paidan.intake.v1 import events_pb2 as intake_pb2
from services.classifier.adapters.sql import ClassifierUnitOfWork
from services.classifier.adapters.tables import model_release
from services.classifier.application.record_release import record_release
from tests.integration.classifier.conftest import running
from tests.integration.classifier.endpoint import serving
from tests.unit.classifier.builders import NOW, release, save_model, shifted, some_parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from paidan.classifier.v1 import classification_pb2
    from tests.integration.classifier.endpoint import Exchange

NOBODY = "127.0.0.1:1"


@dataclass(frozen=True)
class Database:
    """The service's database, without models that have served."""

    url: str
    engine: Engine

    def versions(self) -> set[str]:
        with self.engine.connect() as conn:
            return set(conn.scalars(select(model_release.c.version)))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    owner = create_engine(database_url)
    with owner.begin() as conn:
        conn.execute(text("TRUNCATE classifier.model_release"))
    owner.dispose()
    engine = build_engine(database_url, service="classifier")
    yield Database(database_url, engine)
    engine.dispose()


class Tickets:
    """Stands for intake: tells of tickets."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = Producer({"bootstrap_servers": bootstrap}, client_id="test")

    def submit(self, *texts: str, age: timedelta = timedelta(0)) -> list[str]:
        """Tell of a ticket for each text, submitted so long ago; returns their ids."""
        ids = [str(uuid.uuid4()) for _ in texts]
        for ticket_id, words in zip(ids, texts, strict=True):
            submit_time = datetime.now(UTC) - age
            # Complete, as intake sends it: other services of the test run read the same topic.
            event = intake_pb2.TicketSubmitted(ticket_id=ticket_id, text=words, submit_time=to_timestamp(submit_time))
            self.send(ticket_id, event.SerializeToString(), f"message of {ticket_id}", submit_time)
        return ids

    def send(self, key: str, data: bytes, message_id: str, submit_time: datetime = NOW) -> None:
        message = proto_message("intake.tickets.v1", key, intake_pb2.TicketSubmitted(), time=submit_time, message_id=message_id)
        assert self._producer.send([(message.topic, key, data, message.headers("/paidan/intake"))]) == [None]

    def close(self) -> None:
        self._producer.close()


@pytest.fixture
def tickets(kafka_bootstrap: str, topics: None) -> Iterator[Tickets]:  # noqa: ARG001 - topics must be there
    telling = Tickets(kafka_bootstrap)
    yield telling
    telling.close()


def read_until(bootstrap: str, topic: str, enough: Callable[[list[InMessage]], bool]) -> list[InMessage]:
    """Read a topic from its beginning until what was read is enough, for half a minute at most."""
    consumer = KafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
    found: list[InMessage] = []
    end = time.monotonic() + 30
    try:
        while not enough(found) and time.monotonic() < end:
            polled = consumer.poll(timeout_ms=200)
            found += [read_record(record) for records in polled.values() for record in records]
    finally:
        consumer.close(autocommit=False)
    return found


def classifications_of(bootstrap: str, ids: list[str]) -> dict[str, InMessage]:
    """Return the classification of each ticket, once all are there."""
    messages = read_until(bootstrap, "classifier.classifications.v1", lambda read: set(ids) <= {message.key for message in read})
    return {message.key: message for message in messages if message.key in ids}


def answer_of(message: InMessage) -> classification_pb2.Classification:
    return events_pb2.TicketClassified.FromString(message.data).classification


def eventually(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 15
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def test_tickets_are_classified_garbage_is_kept_aside_and_models_change_without_losing_any(
    database: Database, kafka_bootstrap: str, tickets: Tickets, model_folder: Path, tmp_path: Path
) -> None:
    environment = {"KAFKA_BOOTSTRAP": kafka_bootstrap, "DATABASE_URL": database.url}
    with running(model_folder, tmp_path / "log", environment) as service:
        before = tickets.submit("这周停电三次,生产线报废一批料", "国企项目部欠我们货款86万", "")
        poison = b"\xff\xff" + uuid.uuid4().bytes
        tickets.send("poison", poison, "poison")
        told = classifications_of(kafka_bootstrap, before)
        buried = read_until(kafka_bootstrap, "intake.tickets.v1.dlq", lambda read: poison in {message.data for message in read})

        save_model(model_folder, fingerprint="1234567890", parameters=shifted(some_parameters()))
        swapped = eventually(lambda: "20261123-12345678" in database.versions())
        after = tickets.submit("停电")
        told |= classifications_of(kafka_bootstrap, after)

        metrics = urlopen(f"http://{service.metrics_address}/metrics", timeout=5).read().decode()

    payloads = [events_pb2.TicketClassified.FromString(told[ticket_id].data) for ticket_id in (*before, *after)]
    assert [payload.classification.classes[0].class_code for payload in payloads[:2]] == ["power_supply", "arrears_payment"]
    assert payloads[2].classification.abstained
    assert [payload.classification.model_version for payload in payloads] == ["20261123-abcdef01"] * 3 + ["20261123-12345678"]
    assert poison in {message.data for message in buried}
    assert swapped
    assert database.versions() == {"20261123-abcdef01", "20261123-12345678"}
    assert 'paidan_classifier_classified_total{class_code="power_supply"} 2.0' in metrics
    assert service.process.returncode == 0


def test_a_classification_that_is_repeated_after_a_crash_carries_the_same_id(
    database: Database, kafka_bootstrap: str, tickets: Tickets, model_folder: Path, tmp_path: Path
) -> None:
    environment = {"KAFKA_BOOTSTRAP": kafka_bootstrap, "DATABASE_URL": database.url}
    # Learning is off, so that it is the hot path that crashes.
    crashing = {**environment, "PAIDAN_CLASSIFIER_LEARN": "false", "PAIDAN_FAILPOINT": "consumer.before_offset_commit"}
    with running(model_folder, tmp_path / "crashing.log", crashing) as service:
        ids = tickets.submit("停电", "欠款")
        service.process.wait(timeout=30)
    with running(model_folder, tmp_path / "log", environment):
        messages = read_until(
            kafka_bootstrap,
            "classifier.classifications.v1",
            lambda read: sum(message.key in ids for message in read) > len(ids),
        )

    of_ours = [message for message in messages if message.key in ids]
    assert len(of_ours) > len(ids)
    assert {message.key for message in of_ours} == set(ids)
    assert len({message.id for message in of_ours}) == len(ids)


def test_with_the_database_away_tickets_are_still_classified_and_only_calls_are_refused(
    kafka_bootstrap: str, tickets: Tickets, model_folder: Path, tmp_path: Path
) -> None:
    environment = {"KAFKA_BOOTSTRAP": kafka_bootstrap, "DATABASE_URL": f"postgresql+psycopg://nobody@{NOBODY}/nothing"}
    with running(model_folder, tmp_path / "log", environment) as service, grpc.insecure_channel(service.address) as channel:
        told = classifications_of(kafka_bootstrap, ids := tickets.submit("停电"))
        with pytest.raises(grpc.RpcError) as refused:
            ClassifierServiceStub(channel).Classify(
                pb.ClassifyRequest(text="停电"), metadata=(("authorization", "Bearer paidan_unknown_secret"),)
            )

    assert set(told) == set(ids)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def test_with_the_brokers_away_calls_are_still_answered(database: Database, model_folder: Path, tmp_path: Path) -> None:
    owner = create_engine(database.url)
    with owner.begin() as conn:
        issued = tokens.issue(conn, Caller(Role.PORTAL, "portal-1"))
    owner.dispose()
    environment = {"KAFKA_BOOTSTRAP": NOBODY, "DATABASE_URL": database.url}
    with running(model_folder, tmp_path / "log", environment) as service, grpc.insecure_channel(service.address) as channel:
        answer = ClassifierServiceStub(channel).Classify(
            pb.ClassifyRequest(text="停电"), metadata=(("authorization", f"Bearer {issued.token}"),)
        )
        recorded = eventually(lambda: database.versions() == {"20261123-abcdef01"})

    assert answer.classification.classes[0].class_code == "power_supply"
    assert recorded


def test_of_a_model_the_first_time_that_it_served_is_kept(database: Database) -> None:
    for activate_time in (NOW, NOW.replace(year=2027)):
        with ClassifierUnitOfWork(database.engine) as uow:
            record_release(uow, release(), activate_time)
            uow.commit()

    with database.engine.connect() as conn:
        (row,) = conn.execute(select(model_release)).all()
    assert (row.version, row.activate_time, row.card) == ("20261123-abcdef01", NOW, {"note": "made for tests"})


def test_what_is_not_committed_is_not_remembered(database: Database) -> None:
    with ClassifierUnitOfWork(database.engine) as uow:
        record_release(uow, release(), NOW)

    assert database.versions() == set()


def test_what_is_sure_does_not_wait_for_a_slow_language_model_and_its_advice_comes_when_it_is_there(
    database: Database, kafka_bootstrap: str, tickets: Tickets, model_folder: Path, tmp_path: Path
) -> None:
    with serving() as endpoint:
        answering = threading.Event()

        def when_told(exchange: Exchange) -> None:
            answering.wait(10)
            exchange.say({"class": "power_supply", "confidence": 0.95, "evidence": "一天黑三回"})

        endpoint.behave = when_told
        environment = {
            "KAFKA_BOOTSTRAP": kafka_bootstrap,
            "DATABASE_URL": database.url,
            "PAIDAN_CLASSIFIER_LLM_BASE_URL": endpoint.base_url,
            "PAIDAN_CLASSIFIER_LLM_MODEL": "some-model",
            "PAIDAN_CLASSIFIER_LLM_KEY": "sk-a-very-secret-key",
            "PAIDAN_CLASSIFIER_LLM_TIMEOUT": "PT8S",
            "PAIDAN_CLASSIFIER_LLM_ANSWER_WITHIN": "PT60S",
        }
        with running(model_folder, tmp_path / "log", environment) as service:
            unsure = tickets.submit("厂里一天黑三回,机器开不动13812345678")
            asked = eventually(lambda: len(endpoint.exchanges) == 1)
            sure = classifications_of(kafka_bootstrap, tickets.submit("停电"))
            asked_still = len(endpoint.exchanges) == 1 and not answering.is_set()
            answering.set()
            advised = classifications_of(kafka_bootstrap, unsure)

            endpoint.behave = lambda exchange: exchange.send(b"{}", status=500)
            left_alone = classifications_of(kafka_bootstrap, failing := tickets.submit("厂里一天黑三回,机器开不动"))
            late = classifications_of(kafka_bootstrap, waited := tickets.submit("厂里一天黑三回,机器开不动", age=timedelta(seconds=55)))
            metrics = urlopen(f"http://{service.metrics_address}/metrics", timeout=5).read().decode()

    assert asked
    assert asked_still
    assert [answer_of(message).classes[0].class_code for message in sure.values()] == ["power_supply"]
    (answer,) = (answer_of(advised[ticket_id]) for ticket_id in unsure)
    assert (answer.classes[0].class_code, answer.abstained) == ("power_supply", False)
    assert answer.model_version == "20261123-abcdef01+some-model"
    assert [answer_of(told[ticket_id]).abstained for told, ticket_id in ((left_alone, failing[0]), (late, waited[0]))] == [True, True]
    assert "13812345678" not in endpoint.exchanges[0].text
    assert 'paidan_classifier_llm_questions_total{outcome="late"} 1.0' in metrics
    assert 'paidan_classifier_llm_questions_total{outcome="http_error"} 1.0' in metrics
    assert "sk-a-very-secret-key" not in (tmp_path / "log").read_text()


def test_one_of_two_replicas_that_is_stopped_in_order_hands_over_within_two_seconds(
    database: Database, kafka_bootstrap: str, tickets: Tickets, model_folder: Path, tmp_path: Path
) -> None:
    environment = {"KAFKA_BOOTSTRAP": kafka_bootstrap, "DATABASE_URL": database.url}
    seen: dict[str, float] = {}
    sent: dict[str, float] = {}
    done = threading.Event()

    def watch() -> None:
        consumer = KafkaConsumer("classifier.classifications.v1", bootstrap_servers=kafka_bootstrap, enable_auto_commit=False)
        while not done.is_set():
            for records in consumer.poll(timeout_ms=20).values():
                for record in records:
                    seen.setdefault(record.key.decode(), time.monotonic())
        consumer.close(autocommit=False)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        with running(model_folder, tmp_path / "staying.log", environment):
            with running(model_folder, tmp_path / "leaving.log", environment) as leaving, grpc.insecure_channel(leaving.address) as channel:
                assert eventually(lambda: _shared(kafka_bootstrap, "paidan-classifier") == 2)
                # A load balancer that watches the health keeps a stream open, and the server waits for it.
                watched = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
                next(watched)
                stopped = time.monotonic()
                leaving.process.send_signal(signal.SIGTERM)
                while time.monotonic() < stopped + 4:
                    sent |= dict.fromkeys(tickets.submit("停电"), time.monotonic())
                    time.sleep(0.1)
            assert eventually(lambda: set(sent) <= set(seen))
    finally:
        done.set()
        watching.join(10)

    slowest = max(seen[ticket_id] - begun for ticket_id, begun in sent.items())
    assert slowest < 2, f"{slowest:.1f} s"


def _shared(bootstrap: str, group: str) -> int:
    """Return how many members of a group have partitions, once it is stable."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        (described,) = admin.describe_groups([group]).values()
        members = described["members"] if described["group_state"] == "Stable" else []
        return sum(bool(member["member_assignment"]) for member in members)
    finally:
        admin.close()
