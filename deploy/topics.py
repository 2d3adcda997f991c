"""The topics that Paidan needs, and their creation."""

from __future__ import annotations

import csv
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kafka.admin import KafkaAdminClient
from kafka.errors import TopicAlreadyExistsError, for_code

from chassis.dead_letter import SUFFIX, dead_letter_topic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CATALOGUE = Path(__file__).resolve().parents[1] / "catalogue"
DUTY_DESK = "dutydesk"
INTERNAL = (
    "intake.tickets.v1",
    "classifier.unsure.v1",
    "classifier.classifications.v1",
    "dispatcher.assignments.v1",
    "sla.events.v1",
)
INTERNAL_PARTITIONS = 6
"""Upper bound of the replicas of a service that share the work."""


RETENTION = timedelta(days=14)
"""How long messages are kept, for units that were away."""

DEAD_LETTER_RETENTION = timedelta(days=30)
"""How long dead letters can be redriven. Inboxes remember longer, so that a late redrive repeats no effect."""


def unit_codes(catalogue: Path = CATALOGUE) -> Sequence[str]:
    """Return the codes of all units of the catalogue: departments, districts' teams, the duty desk.

    Districts that are no longer in force are among them: their tickets live on.
    """
    departments, districts = (_codes(catalogue / name) for name in ("departments.csv", "districts.csv"))
    return [*departments, *districts, DUTY_DESK]


def all_topics(catalogue: Path = CATALOGUE) -> Mapping[str, int]:
    """Return every topic with its number of partitions, dead letters included."""
    topics = dict.fromkeys(INTERNAL, INTERNAL_PARTITIONS)
    for unit in unit_codes(catalogue):
        # One partition: a unit reads its messages in the order of their sending.
        topics[f"dispatch.{unit}.v1"] = 1
        topics[f"receipts.{unit}.v1"] = 1
    consumed = [topic for topic in topics if not topic.startswith("dispatch.")]
    return topics | {dead_letter_topic(topic): 1 for topic in consumed}


def create_topics(client_options: Mapping[str, Any], catalogue: Path = CATALOGUE) -> int:
    """Create the topics that are missing, with the brokers' default replication; returns how many.

    Raises:
        kafka.errors.KafkaError: The brokers are out of reach, or refuse.
    """
    admin = KafkaAdminClient(**client_options)
    try:
        missing = {name: partitions for name, partitions in all_topics(catalogue).items() if name not in set(admin.list_topics())}
        if missing:
            wanted = {name: {"num_partitions": partitions, "configs": _retention(name)} for name, partitions in missing.items()}
            _check(admin.create_topics(wanted, timeout_ms=30_000, raise_errors=False, wait_for_metadata=True))
    finally:
        admin.close()
    return len(missing)


def _retention(topic: str) -> Mapping[str, str]:
    kept = DEAD_LETTER_RETENTION if topic.endswith(SUFFIX) else RETENTION
    return {"retention.ms": str(int(kept.total_seconds() * 1000))}


def _check(response: Mapping[str, Any]) -> None:
    for topic in response["topics"]:
        error = for_code(topic["error_code"])
        # Another run may have created it meanwhile.
        if topic["error_code"] and error is not TopicAlreadyExistsError:
            raise error(topic["name"])


def _codes(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return [row["code"] for row in csv.DictReader(file)]
