"""A schema of the tests' own with inbox, outbox and a table for effects, and topics of each test's own."""

from __future__ import annotations

import gc
import logging
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from sqlalchemy import BigInteger, Column, Identity, MetaData, Table, Text, create_engine, func, select, text

from chassis.inbox import inbox_table
from chassis.logging import _traceback
from chassis.metrics import ChassisMetrics
from chassis.migrations import _grant, _prepare
from chassis.outbox import Outbox, outbox_table
from chassis.sql import SqlUnitOfWork, build_engine
from tests.conftest import fresh_database

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Engine

    from chassis.message import OutMessage
    from deploy.local.parts import LocalParts

SOURCE = "/paidan/probe"

# Brokers that are killed on purpose are no news, and pytest would keep what the client logs of it together with its open sockets.
logging.getLogger("kafka").setLevel(logging.CRITICAL)


@pytest.fixture(scope="session", autouse=True)
def _plain_logs() -> None:
    """Render exceptions as a service does: the library's default draws every frame with its variables, which takes seconds."""
    structlog.configure(processors=[structlog.processors.add_log_level, _traceback, structlog.processors.JSONRenderer()])


@pytest.fixture(scope="session")
def database(parts: LocalParts) -> Iterator[str]:
    with fresh_database(parts.database_url) as url:
        yield url


@dataclass
class Probe:
    """A service of nothing but messages: its effects are rows of `effect`."""

    url: str
    schema: str
    admin: Engine
    engine: Engine
    outbox: Outbox
    inbox: Table
    effect: Table
    metrics: ChassisMetrics = field(default_factory=ChassisMetrics)

    def open(self) -> SqlUnitOfWork:
        return SqlUnitOfWork(self.engine, self.outbox)

    def publish(self, *messages: OutMessage) -> None:
        with self.open() as uow:
            for message in messages:
                uow.publish(message)
            uow.commit()

    def effects(self) -> list[str]:
        """What was done, in the order in which it was done."""
        with self.admin.connect() as conn:
            return list(conn.scalars(select(self.effect.c.what).order_by(self.effect.c.seq)))

    def waiting(self) -> list[Any]:
        """Rows that are in the outbox, in order."""
        with self.admin.connect() as conn:
            return list(conn.execute(select(self.outbox.table).order_by(self.outbox.table.c.seq)))

    def claimed(self) -> int:
        with self.admin.connect() as conn:
            return int(conn.scalar(select(func.count()).select_from(self.inbox)) or 0)

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
def probe(database: str) -> Iterator[Probe]:
    service = f"probe_{uuid.uuid4().hex[:10]}"
    metadata = MetaData(schema=service)
    outbox, inbox = outbox_table(metadata), inbox_table(metadata)
    effect = Table(
        "effect", metadata, Column("seq", BigInteger, Identity(always=True), primary_key=True), Column("what", Text, nullable=False)
    )
    admin = create_engine(database)
    with admin.begin() as conn:
        _prepare(conn, service)
        metadata.create_all(conn)
        _grant(conn, service)
    engine = build_engine(database, service=service, pool_size=8)
    yield Probe(database, service, admin, engine, Outbox(outbox, source=SOURCE), inbox, effect)
    engine.dispose()
    with admin.begin() as conn:
        conn.execute(text(f"DROP SCHEMA {service} CASCADE"))
        conn.execute(text(f"DROP OWNED BY paidan_{service}"))
        conn.execute(text(f"DROP ROLE paidan_{service}"))
    admin.dispose()


@dataclass
class Topics:
    """Makes topics, fills them and reads them from the outside."""

    bootstrap: str

    @property
    def options(self) -> Mapping[str, Any]:
        return {"bootstrap_servers": [self.bootstrap]}

    def make(self, *names: str, partitions: int = 1) -> list[str]:
        """Make topics whose names begin like `names`; returns the names."""
        made = [f"{name}.{uuid.uuid4().hex[:8]}" for name in names]
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        try:
            admin.create_topics({name: {"num_partitions": partitions} for name in made}, timeout_ms=20_000, wait_for_metadata=True)
        finally:
            admin.close()
        return made

    def make_exactly(self, *names: str) -> None:
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        try:
            admin.create_topics({name: {"num_partitions": 1} for name in names}, timeout_ms=20_000, wait_for_metadata=True)
        finally:
            admin.close()

    def write(self, topic: str, *records: Mapping[str, Any]) -> None:
        """Write records given as keyword arguments of the client's `send`, in their order."""
        producer = KafkaProducer(bootstrap_servers=self.bootstrap, acks="all")
        try:
            futures = [producer.send(topic, **record) for record in records]
            for future in futures:
                future.get(timeout=20)
        finally:
            producer.close(timeout=5)

    def read(self, *topics: str) -> list[Any]:
        """Return everything that is on topics now, each partition in order, earlier timestamps first."""
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap, enable_auto_commit=False, metrics_enabled=False)
        try:
            places = [TopicPartition(topic, partition) for topic in topics for partition in consumer.partitions_for_topic(topic) or ()]
            ends = consumer.end_offsets(places)
            consumer.assign(places)
            consumer.seek_to_beginning(*places)
            records: list[Any] = []
            while any(consumer.position(place) < ends[place] for place in places):
                for polled in consumer.poll(timeout_ms=500).values():
                    records.extend(polled)
            return sorted(records, key=lambda record: record.timestamp)
        finally:
            consumer.close()

    def committed(self, group: str, topic: str) -> int:
        """Return the offset that a group committed on a topic's only partition; 0 if none."""
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap, group_id=group, enable_auto_commit=False, metrics_enabled=False)
        try:
            return int(consumer.committed(TopicPartition(topic, 0)) or 0)
        finally:
            consumer.close(autocommit=False)


@pytest.fixture(scope="session")
def topics(kafka_bootstrap: str) -> Topics:
    return Topics(kafka_bootstrap)


def values(records: Sequence[Any]) -> list[str]:
    return [record.value.decode() for record in records]


def client_leaks_sockets(test: Any) -> Any:
    """Mark a test in which the Kafka client leaves refused sockets to the garbage collector."""
    return pytest.mark.usefixtures("sockets_collected")(pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")(test))


@pytest.fixture
def sockets_collected() -> Iterator[None]:
    """Collect the client's sockets while the mark lets them pass; ask for this fixture before those that hold them."""
    yield
    for _ in range(5):
        gc.collect()
