"""What sinks and engines do while the database times out, is read-only, or does not answer."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from sqlalchemy import BigInteger, Column, Identity, MetaData, Table, Text, create_engine, insert, text
from sqlalchemy.exc import DBAPIError, OperationalError

from chassis.bulk import bulk_insert
from chassis.clock import SystemClock
from chassis.inbox import inbox_table
from chassis.message import proto_message
from chassis.migrations import _grant, _prepare
from chassis.outbox import Outbox, outbox_table
from chassis.relay import Relay
from chassis.sink import TransactionalSink
from chassis.sql import build_engine, is_healthy, is_writable
from chassis.transient import READ_ONLY, is_transient, sqlstate_of
from tests.integration.chassis.conftest import SOURCE, Probe
from tests.integration.chassis.test_outbox import running
from tests.support.databases import own_server, read_only, suspended_backends, through
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Connection, Engine

    from chassis.message import InMessage
    from chassis.publisher import OutRecord
    from chassis.sql import SqlUnitOfWork


@dataclass
class ARecord:
    value: bytes
    key: bytes
    offset: int
    topic: str = "in.v1"
    partition: int = 0
    timestamp: int = 0
    headers: Sequence[tuple[str, bytes]] = ()


def records(*values: str) -> list[ARecord]:
    """Records whose keys are their values up to a colon."""
    return [ARecord(value.encode(), value.partition(":")[0].encode(), offset) for offset, value in enumerate(values)]


def sink_of(probe: Probe) -> TransactionalSink[SqlUnitOfWork]:
    def handle(uow: SqlUnitOfWork, messages: Sequence[InMessage]) -> None:
        for message in messages:
            if message.data.endswith(b"!slow"):
                uow.connection.execute(text("SELECT pg_sleep(60)"))
        bulk_insert(uow.connection, probe.effect, [{"what": message.data.decode()} for message in messages])

    return TransactionalSink(probe.open, probe.inbox, handle, consumer="probe", clock=SystemClock(), metrics=probe.metrics)


def buried(probe: Probe) -> list[tuple[str, str]]:
    """Return reason and offset of the dead letters."""
    headers = [dict(row.headers) for row in probe.waiting() if row.aggregatetype.endswith(".dlq")]
    return [(each["dlq_reason"], each["dlq_offset"]) for each in headers]


def test_a_message_that_times_out_again_and_again_is_a_dead_letter_and_the_others_have_their_effects(probe: Probe) -> None:
    batch = records("a", "!slow", "b", "c")
    began = time.monotonic()

    sink_of(probe).process(batch)

    assert probe.effects() == ["a", "b", "c"]
    assert buried(probe) == [("STATEMENT_TIMEOUT", "1")]
    assert time.monotonic() - began < 10


def test_what_stands_behind_a_slow_message_of_the_same_key_comes_after_it(probe: Probe) -> None:
    sink_of(probe).process(records("a:1", "a:!slow", "a:2", "b:1"))

    assert probe.effects() == ["a:1", "b:1", "a:2"]
    assert buried(probe) == [("STATEMENT_TIMEOUT", "1")]


def test_many_slow_messages_at_the_head_do_not_stop_the_others_for_ever(probe: Probe) -> None:
    sink = sink_of(probe)
    batch = records(*(f"{n}:!slow" for n in range(5)), "a", "b")
    steps: list[float] = []

    with pytest.raises(DBAPIError) as put_off:
        sink.process(batch)
    assert is_transient(put_off.value)
    sink.process(batch, lambda: steps.append(time.monotonic()))

    assert probe.effects() == ["a", "b"]
    assert buried(probe) == [("STATEMENT_TIMEOUT", str(n)) for n in range(5)]
    assert len(steps) == len(batch) + 5
    assert max(after - before for before, after in pairwise(steps)) < 5, "each record is progress"


def test_while_a_whole_table_is_locked_nothing_is_a_dead_letter(probe: Probe) -> None:
    sink = sink_of(probe)
    with probe.admin.connect() as holder:
        holder.execute(text(f"LOCK TABLE {probe.schema}.effect IN ACCESS EXCLUSIVE MODE"))

        with pytest.raises(DBAPIError) as put_off:
            sink.process(records("a", "b"))
        with probe.engine.connect() as conn:
            well = is_healthy(conn)

    assert is_transient(put_off.value)
    assert not well
    assert probe.waiting() == []
    sink.process(records("a", "b"))
    assert probe.effects() == ["a", "b"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that tests may switch and suspend."""
    with own_server(tmp_path_factory.mktemp("server") / "postgres") as opened:
        yield opened.url


@contextmanager
def probe_on(url: str, *, by: str | None = None) -> Iterator[Probe]:
    """A probe whose engine connects by another address than its owner."""
    schema = "probe"
    metadata = MetaData(schema=schema)
    outbox, inbox = outbox_table(metadata), inbox_table(metadata)
    effect = Table("effect", metadata, Column("seq", BigInteger, Identity(always=True), primary_key=True), Column("what", Text))
    admin = create_engine(url)
    with admin.begin() as conn:
        _prepare(conn, schema)
        metadata.create_all(conn)
        _grant(conn, schema)
    engine = build_engine(by or url, service=schema, pool_size=4)
    try:
        yield Probe(url, schema, admin, engine, Outbox(outbox, source=SOURCE), inbox, effect)
    finally:
        engine.dispose()
        with admin.begin() as conn:
            conn.execute(text(f"DROP SCHEMA {schema} CASCADE"))
        admin.dispose()


def test_a_database_that_turns_read_only_puts_the_batch_off_and_every_old_connection_is_thrown_away(server: str) -> None:
    with probe_on(server) as probe:
        sink = sink_of(probe)
        before = backends(probe.engine)

        with read_only(server):
            with pytest.raises(DBAPIError) as put_off:
                sink.process(records("a", "b"))
            with probe.engine.connect() as conn:
                writable = is_writable(conn)
                after = conn.scalar(text("SELECT pg_backend_pid()"))
        sink.process(records("a", "b"))

        assert sqlstate_of(put_off.value) == READ_ONLY
        assert is_transient(put_off.value)
        assert not writable
        assert after not in before
        assert probe.effects() == ["a", "b"]
        assert probe.waiting() == []


def by_copy(conn: Connection, table: Table) -> None:
    bulk_insert(conn, table, [{"what": "a"}])


def by_statement(conn: Connection, table: Table) -> None:
    conn.execute(insert(table).values(what="a"))


def backends(engine: Engine) -> set[int]:
    """Return the server's processes behind four connections of a pool."""
    connections = [engine.connect() for _ in range(4)]
    found = {int(conn.scalar(text("SELECT pg_backend_pid()"))) for conn in connections}
    for conn in connections:
        conn.close()
    return found


@pytest.mark.parametrize("write", [by_copy, by_statement])
def test_one_failed_write_on_a_read_only_database_empties_the_pool(server: str, write: Callable[[Connection, Table], None]) -> None:
    with probe_on(server) as probe:
        before = backends(probe.engine)

        with read_only(server), probe.engine.connect() as conn, pytest.raises(DBAPIError):
            write(conn, probe.effect)

        assert len(before) == 4
        assert not before & backends(probe.engine)


def test_a_network_that_drops_everything_is_noticed_within_ten_seconds(server: str) -> None:
    port = int(server.rpartition(":")[2].partition("/")[0])
    with TcpProxy(port) as proxy, probe_on(server, by=through(proxy, server)) as probe:
        sink = sink_of(probe)
        sink.process(records("a"))

        proxy.hold()
        began = time.monotonic()
        with pytest.raises(OperationalError) as put_off:
            sink.process(records("a", "b"))
        took = time.monotonic() - began
        proxy.release()
        sink.process(records("a", "b"))

        assert is_transient(put_off.value)
        assert took < 10
        assert probe.effects() == ["a", "b"]
        assert probe.waiting() == []


def test_a_server_that_does_not_run_is_noticed_within_ten_seconds(server: str) -> None:
    with probe_on(server) as probe:
        sink = sink_of(probe)
        sink.process(records("a"))

        with suspended_backends(server):
            began = time.monotonic()
            with pytest.raises(OperationalError) as put_off:
                sink.process(records("a", "b"))
            took = time.monotonic() - began
        sink.process(records("a", "b"))

        assert is_transient(put_off.value)
        assert took < 10
        assert probe.effects() == ["a", "b"]
        assert probe.waiting() == []


class Brokers:
    """Acknowledge everything."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    def send(self, records: Sequence[OutRecord], *, within: timedelta) -> list[None]:  # noqa: ARG002 - the port's
        self.taken += [value for _, _, value, _ in records]
        return [None] * len(records)


def test_a_relay_that_takes_the_lead_publishes_nothing_while_the_database_is_read_only(server: str) -> None:
    brokers = Brokers()
    with probe_on(server) as probe:
        probe.publish(proto_message("out.v1", "k", StringValue(value="1"), time=datetime.now(UTC)))
        relay = Relay(probe.engine, probe.outbox, brokers, probe.metrics, interval=timedelta(seconds=1), pace=timedelta(0), batch=10)

        with read_only(server), running(relay):
            time.sleep(2.5)
            while_read_only = list(brokers.taken)
        with running(relay):
            eventually(lambda: not probe.waiting(), "empty outbox", within=10)

        assert while_read_only == []
        assert len(brokers.taken) == 1
