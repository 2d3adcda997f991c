from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from services.classifier.adapters.model_store import ModelFolder, ModelSlot
from services.classifier.adapters.shadow import Shadow
from services.classifier.application.classify_tickets import ClassifyTicket
from services.classifier.domain.events import TicketClassified
from services.classifier.telemetry import ClassifierMetrics
from tests.unit.classifier.builders import NOW, classification, save_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

TEXT = "这周停电三次,生产线报废一批料"


class Record:
    """A table that can be away."""

    def __init__(self) -> None:
        self.rows: list[Mapping[str, object]] = []
        self.away = False

    def add(self, rows: Sequence[Mapping[str, object]]) -> None:
        if self.away:
            raise OperationalError("insert", {}, Exception())
        self.rows += rows


class Compared:
    """A shadow with all that tests look at."""

    def __init__(self, folder: Path) -> None:
        self.record = Record()
        self.registry = CollectorRegistry()
        self.shadow = Shadow(ModelSlot(ModelFolder(folder)), self.record, ClassifierMetrics(self.registry))  # type: ignore[arg-type]  # stands in
        self.shadow.follow()

    def answered(self, *codes: str) -> None:
        """The model that serves has named these classes for a text about a blackout."""
        commands = [ClassifyTicket(cause_id="c", ticket_id=f"t{number}", text=TEXT) for number in range(len(codes))]
        events = [
            TicketClassified(cause_id="c", ticket_id=f"t{number}", classification=classification([(code, 0.9)]), classify_time=NOW)
            for number, code in enumerate(codes)
        ]
        self.shadow.offer(commands, events)
        while self.shadow.tick():
            pass

    def count(self, outcome: str) -> float:
        return self.registry.get_sample_value("paidan_classifier_shadow_total", {"outcome": outcome}) or 0.0


@pytest.fixture
def compared(tmp_path: Path) -> Compared:
    save_model(tmp_path, fingerprint="1234567890")
    return Compared(tmp_path)


def test_agreement_is_counted_and_disagreement_recorded_and_logged_without_the_text(compared: Compared) -> None:
    with capture_logs() as logs:
        compared.answered("power_supply", "loan_financing", "power_supply")

    assert (compared.count("agreed"), compared.count("disagreed")) == (2, 1)
    (row,) = compared.record.rows
    assert (row["ticket_id"], row["champion_class"], row["challenger_class"]) == ("t1", "loan_financing", "power_supply")
    assert (row["champion_version"], row["challenger_version"]) == ("20261123-abcdef01", "20261123-12345678")
    assert TEXT not in str(row)
    assert TEXT not in str(logs)
    assert [log["event"] for log in logs if log["log_level"] == "info"] == ["shadow_disagreed"]


def test_a_missing_model_is_told_once_and_its_tickets_are_counted_as_skipped(tmp_path: Path) -> None:
    with capture_logs() as logs:
        compared = Compared(tmp_path / "nothing")
        compared.shadow.follow()
        compared.answered("power_supply")

    assert [log["event"] for log in logs] == ["shadow_model_not_loaded"]
    assert compared.count("skipped") == 1


def test_a_damaged_model_is_not_used_and_a_mended_one_is_taken_up(tmp_path: Path) -> None:
    save_model(tmp_path)
    for file in tmp_path.glob("model-*.npz"):
        file.write_bytes(b"")
    compared = Compared(tmp_path)
    compared.answered("power_supply")

    save_model(tmp_path)
    compared.shadow.follow()
    compared.answered("power_supply")

    assert (compared.count("skipped"), compared.count("agreed")) == (1, 1)


def test_a_database_that_is_away_costs_the_record_and_nothing_else(compared: Compared) -> None:
    compared.record.away = True

    compared.answered("loan_financing")

    assert compared.count("disagreed") == 1


def test_more_than_there_is_room_for_is_skipped_and_counted(tmp_path: Path) -> None:
    compared = Compared(tmp_path / "nothing")
    commands = [ClassifyTicket(cause_id="c", ticket_id="t", text="x")] * 2500
    events = [TicketClassified(cause_id="c", ticket_id="t", classification=classification(), classify_time=NOW)] * 2500

    compared.shadow.offer(commands, events)

    assert compared.count("skipped") == 500
