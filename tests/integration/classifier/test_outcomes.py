"""From events on real topics to labels in a real database, and to a model that is served."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, select, text
from typer.testing import CliRunner

from chassis.instant import to_timestamp
from chassis.message import proto_message
from chassis.producer import Producer
from chassis.sql import build_engine
from cli.main import app
from paidan.classifier.v1 import classification_pb2
from paidan.classifier.v1 import events_pb2 as classifier
from paidan.dispatcher.v1 import dispatch_pb2
from paidan.dispatcher.v1 import events_pb2 as dispatcher
from paidan.intake.v1 import events_pb2 as intake
from services.classifier.adapters import sql, tables
from services.classifier.adapters.model_archive import ModelArchive
from tests.integration.classifier.conftest import running
from tests.support.waiting import eventually
from tests.unit.classifier.builders import NOW, save_model, shifted, some_parameters

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from google.protobuf.message import Message
    from sqlalchemy import Engine, Row

TOPICS = {"intake": "intake.tickets.v1", "classifier": "classifier.classifications.v1", "dispatcher": "dispatcher.assignments.v1"}
WORDS = "收费不合理,联系13800138000"


class Tell:
    """Stands for intake and the dispatcher, and for the classifier's own answers."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = Producer({"bootstrap_servers": bootstrap}, client_id="test")

    def __call__(self, *messages: Message) -> None:
        for told in messages:
            service = told.DESCRIPTOR.full_name.split(".")[1]
            message = proto_message(TOPICS[service], told.ticket_id, told, time=NOW)  # type: ignore[attr-defined]  # all have one
            assert self._producer.send([(message.topic, message.key, message.data, message.headers("/test"))]) == [None]

    def garbage(self, key: str) -> None:
        message = proto_message(TOPICS["dispatcher"], key, dispatcher.TicketAccepted(), time=NOW)
        assert self._producer.send([(message.topic, key, b"\xff\xff", message.headers("/test"))]) == [None]

    def close(self) -> None:
        self._producer.close()


@pytest.fixture
def tell(kafka_bootstrap: str, topics: None) -> Iterator[Tell]:  # noqa: ARG001 - topics must be there
    telling = Tell(kafka_bootstrap)
    yield telling
    telling.close()


@dataclass(frozen=True)
class Learning:
    """The classifier's database."""

    url: str
    engine: Engine

    def outcome(self, ticket_id: str) -> Row[Any] | None:
        with self.engine.connect() as conn:
            return conn.execute(select(tables.outcome).where(tables.outcome.c.ticket_id == ticket_id)).one_or_none()

    def weight(self, ticket_id: str) -> float | None:
        row = self.outcome(ticket_id)
        return None if row is None else row.weight

    def label(self, ticket_id: str) -> tuple[str | None, str | None]:
        row = self.outcome(ticket_id)
        return (row.label, row.source) if row is not None else (None, None)


@pytest.fixture
def learning(database_url: str) -> Iterator[Learning]:
    owner = create_engine(database_url)
    with owner.begin() as conn:
        conn.execute(text("TRUNCATE classifier.outcome, classifier.shadow_disagreement, classifier.model_release"))
    owner.dispose()
    engine = build_engine(database_url, service="classifier")
    yield Learning(database_url, engine)
    engine.dispose()


@pytest.fixture
def environment(learning: Learning, kafka_bootstrap: str) -> dict[str, str]:
    return {"KAFKA_BOOTSTRAP": kafka_bootstrap, "DATABASE_URL": learning.url}


def new_ticket() -> str:
    return str(uuid.uuid4())


def submitted(ticket: str, *, confidential: bool = False) -> Message:
    return intake.TicketSubmitted(ticket_id=ticket, text=WORDS, confidential=confidential, submit_time=to_timestamp(NOW))


def classified(ticket: str) -> Message:
    ranked = [("fee_burden", 0.6), ("law_enforcement", 0.3), ("other", 0.1)]
    classes = [classification_pb2.ClassProbability(class_code=code, probability=p) for code, p in ranked]
    return classifier.TicketClassified(
        ticket_id=ticket, classification=classification_pb2.Classification(classes=classes, model_version="m")
    )


def dispatched(ticket: str, epoch: int, unit: str, method: str) -> Message:
    return dispatcher.TicketDispatched(
        ticket_id=ticket,
        epoch=epoch,
        lead_unit=unit,
        class_code="fee_burden",
        method=dispatch_pb2.DispatchMethod.Value(f"DISPATCH_METHOD_{method}"),
    )


def returned_and_kept_elsewhere(ticket: str) -> Sequence[Message]:
    return (
        dispatched(ticket, 1, "jjxxw", "AUTO"),
        dispatcher.TicketReturned(ticket_id=ticket, epoch=1, unit="jjxxw", reason=dispatch_pb2.RETURN_REASON_NOT_OUR_COMPETENCE),
        dispatched(ticket, 2, "sfj", "SUGGESTION"),
        dispatcher.TicketAccepted(ticket_id=ticket, epoch=2, unit="sfj"),
    )


def test_events_in_whatever_order_become_labels_and_the_text_keeps_no_number(
    learning: Learning, environment: dict[str, str], tell: Tell, model_folder: Path, tmp_path: Path
) -> None:
    in_order, backwards, secret = (new_ticket() for _ in range(3))
    with running(model_folder, tmp_path / "log", environment) as service:
        tell(submitted(in_order), classified(in_order), *returned_and_kept_elsewhere(in_order))
        tell(*returned_and_kept_elsewhere(backwards), classified(backwards), submitted(backwards))
        tell(submitted(secret, confidential=True), classified(secret), *returned_and_kept_elsewhere(secret))
        tell.garbage(new_ticket())
        expected = ("law_enforcement", "returned_and_kept_elsewhere")
        eventually(lambda: learning.label(in_order) == learning.label(backwards) == expected, "labels")
        tell(dispatcher.TicketResolved(ticket_id=in_order, epoch=2, unit="sfj"), intake.TicketClosed(ticket_id=in_order))
        eventually(lambda: learning.weight(in_order) == pytest.approx(0.9), "the weight of what was closed")
        eventually(lambda: (row := learning.outcome(secret)) and "2" in row.facts.get("assignments", {}), "what befell the secret one")
        metrics = urlopen(f"http://{service.metrics_address}/metrics", timeout=5).read().decode()

    kept, hidden = learning.outcome(in_order), learning.outcome(secret)
    assert kept is not None
    assert hidden is not None
    assert kept.text == "收费不合理,联系00000000000"
    assert (hidden.text, hidden.label) == (None, None)
    assert 'paidan_classifier_sent_total{class_code="fee_burden"}' in metrics
    assert 'paidan_classifier_refused_total{class_code="fee_burden"}' in metrics
    assert re.search(r'^paidan_classifier_labels_total\{source="returned_and_kept_elsewhere"\} [1-9]', metrics, re.MULTILINE)
    assert "paidan_classifier_learning 1.0" in metrics
    assert "paidan_classifier_unknown_characters_total" in metrics


def test_outcomes_in_the_database_can_be_read_as_a_file_to_retrain_from(
    learning: Learning, environment: dict[str, str], tell: Tell, model_folder: Path, tmp_path: Path
) -> None:
    ticket = new_ticket()
    with running(model_folder, tmp_path / "log", environment):
        tell(submitted(ticket), classified(ticket), *returned_and_kept_elsewhere(ticket))
        eventually(lambda: learning.label(ticket)[0] == "law_enforcement", "label")

    result = CliRunner().invoke(
        app, ["model", "outcomes", "--json"], env={"DATABASE_URL": learning.url, "PAIDAN_CONNECTION": str(tmp_path / "none")}
    )

    (record,) = (record for line in result.stdout.splitlines() if (record := json.loads(line))["id"] == ticket)
    assert (record["label"], record["predicted"], record["source"]) == ("law_enforcement", "fee_burden", "returned_and_kept_elsewhere")
    assert record["time"] == NOW.isoformat()


def test_a_promotion_and_a_rollback_reach_a_running_classifier_and_its_shadow_is_heard(
    learning: Learning, environment: dict[str, str], tell: Tell, model_folder: Path, tmp_path: Path
) -> None:
    other = "20261123-12345678"
    archive = ModelArchive(model_folder)
    save_model(archive.version(other).path, fingerprint="1234567890", parameters=shifted(some_parameters()))
    shadowed = {**environment, "PAIDAN_CLASSIFIER_SHADOW_DIR": str(archive.version(other).path)}

    def releases() -> set[str]:
        with learning.engine.connect() as conn:
            return set(conn.scalars(select(tables.model_release.c.version)))

    def shadow_sum(address: str) -> float:
        lines = urlopen(f"http://{address}/metrics", timeout=5).read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("paidan_classifier_shadow_total"))

    with running(model_folder, tmp_path / "log", shadowed) as service:
        tell(submitted(new_ticket()), submitted(new_ticket()))
        eventually(lambda: shadow_sum(service.metrics_address) >= 2, "answer in the shadow")
        archive.promote(other, now=NOW, reason="")
        eventually(lambda: other in releases(), "promotion in the running classifier")
        archive.rollback(now=NOW, reason="")

    assert service.process.returncode == 0
    assert "shadow_model_loaded" in service.log.read_text(encoding="utf-8")


def test_tickets_are_classified_while_learning_cannot(kafka_bootstrap: str, tell: Tell, model_folder: Path, tmp_path: Path) -> None:
    environment = {"KAFKA_BOOTSTRAP": kafka_bootstrap, "DATABASE_URL": "postgresql+psycopg://nobody@127.0.0.1:1/nothing"}
    with running(model_folder, tmp_path / "log", environment) as service:
        tell(submitted(new_ticket()))

        def classified_by_now() -> bool:
            lines = urlopen(f"http://{service.metrics_address}/metrics", timeout=5).read().decode().splitlines()
            return any(line.startswith("paidan_classifier_classified_total") for line in lines)

        eventually(classified_by_now, "classification")

    assert service.process.returncode == 0


def test_what_is_old_is_forgotten(learning: Learning) -> None:
    with learning.engine.begin() as conn:
        for ticket, age in (("old", 500), ("young", 5)):
            conn.execute(tables.outcome.insert().values(ticket_id=ticket, facts={}, update_time=NOW - timedelta(days=age)))
        forgotten = sql.forget_outcomes(conn, now=NOW, retention=timedelta(days=400))

    assert forgotten == 1
    assert (learning.outcome("old") is None, learning.outcome("young") is None) == (True, False)


def test_the_migrations_make_the_tables_that_the_code_declares(database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.connect() as conn:
        options = {
            "include_schemas": True,
            "include_name": lambda name, kind, _parents: kind != "schema" or name == tables.SCHEMA,
            "version_table_schema": tables.SCHEMA,
            "compare_type": True,
        }
        differences = compare_metadata(MigrationContext.configure(conn, opts=options), tables.metadata)
    engine.dispose()

    assert differences == []


def test_who_was_right_where_two_models_disagreed_is_told_by_outcomes(learning: Learning) -> None:
    row = {
        "champion_version": "a",
        "challenger_version": "b",
        "champion_probability": 0.5,
        "challenger_probability": 0.5,
        "classify_time": NOW,
    }
    answers = [("t1", "fee_burden", "law_enforcement"), ("t2", "fee_burden", "fire_review"), ("t3", "fee_burden", "other")]
    sql.SqlShadowRecord(learning.engine).add(
        [{**row, "ticket_id": ticket, "champion_class": first, "challenger_class": second} for ticket, first, second in answers]
    )
    with learning.engine.begin() as conn:
        for ticket, label in (("t1", "law_enforcement"), ("t2", "fee_burden"), ("t3", None)):
            conn.execute(tables.outcome.insert().values(ticket_id=ticket, facts={}, label=label, update_time=NOW))

        (judged,) = sql.judged_disagreements(conn)

    assert (judged["disagreements"], judged["known"], judged["champion_right"], judged["challenger_right"]) == (3, 2, 1, 1)
