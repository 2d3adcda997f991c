"""What the parts can do without us: an empty gRPC call, a commit of one row, three bare hops through Kafka."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import grpc
import psycopg
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from sqlalchemy import make_url

from bench.load import CHANNEL_OPTIONS, repeat
from bench.requests import PORTALS
from bench.stats import Latency
from bench.worker import Worker
from chassis.grpc import SERVER_OPTIONS
from deploy.local.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_ECHO_SERVICE = "bench.Echo"
_ECHO = f"/{_ECHO_SERVICE}/Echo"
_HOPS = 3
_HOP_PARTITIONS = 6
_MESSAGE_BYTES = 600
_POLL_MS = 200
_HEAD_START_SECONDS = 0.5
_ARRIVAL_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Rate:
    """What was measured of something done again and again.

    Attributes:
        in_flight: How many at a time.
        per_second: How many a second.
        latency: How long each took.
    """

    in_flight: int
    per_second: float
    latency: Latency


# gRPC


class EchoServer:
    """A bare server with the options of ours, answering an empty message with an empty message. Lives in a worker."""

    def __init__(self, port: int) -> None:
        started = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve(port, started)), daemon=True).start()
        started.wait()

    @staticmethod
    async def _serve(port: int, started: threading.Event) -> None:
        async def echo(request: bytes, _context: object) -> bytes:
            return request

        server = grpc.aio.server(options=SERVER_OPTIONS)
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(_ECHO_SERVICE, handlers)])
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        started.set()
        await server.wait_for_termination()


class EchoClient:
    """Calls the bare server, over as many connections as the load has. Lives in a worker."""

    def __init__(self, port: int) -> None:
        self._address = f"127.0.0.1:{port}"

    def measure(self, in_flight: int, seconds: float) -> Rate:
        """Keep that many calls in flight."""
        return asyncio.run(self._measure(in_flight, seconds))

    async def _measure(self, in_flight: int, seconds: float) -> Rate:
        channels = [grpc.aio.insecure_channel(self._address, options=CHANNEL_OPTIONS) for _ in PORTALS]
        await asyncio.gather(*(channel.channel_ready() for channel in channels))
        calls: list[grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = [channel.unary_unary(_ECHO) for channel in channels]
        turn = iter(range(10**9))

        async def call() -> None:
            await calls[next(turn) % len(calls)](b"")

        took = await repeat(call, in_flight, seconds)
        await asyncio.gather(*(channel.close() for channel in channels))
        return _rate(in_flight, took, seconds)


def echo_rates(in_flight: Sequence[int], seconds: float) -> Mapping[int, Rate]:
    """Measure the empty call at several numbers in flight."""
    port = free_port()
    with Worker("echo-server", EchoServer, port), Worker("echo-client", EchoClient, port) as client:
        client.call(EchoClient.measure, in_flight[0], min(1.0, seconds))
        return {calls: client.call(EchoClient.measure, calls, seconds) for calls in in_flight}


# PostgreSQL


class Committer:
    """Commits one row at a time. Lives in a worker."""

    def __init__(self, database_url: str) -> None:
        self._conninfo = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._schema = f"bench_{uuid.uuid4().hex[:8]}"

    def fsync(self) -> bool:
        """Tell whether an answered commit is on disk."""
        with psycopg.connect(self._conninfo) as conn:
            names = ("fsync", "synchronous_commit")
            return all(conn.execute(f"SHOW {name}").fetchone() == ("on",) for name in names)

    def measure(self, connections: int, seconds: float) -> Rate:
        """Keep that many connections committing rows of the size of a ticket."""
        with psycopg.connect(self._conninfo, autocommit=True) as conn:
            conn.execute(f"CREATE SCHEMA {self._schema}")
            conn.execute(f"CREATE TABLE {self._schema}.row (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body bytea NOT NULL)")
            try:
                return self._measure(connections, seconds)
            finally:
                conn.execute(f"DROP SCHEMA {self._schema} CASCADE")

    def _measure(self, connections: int, seconds: float) -> Rate:
        took: list[float] = []
        statement = f"INSERT INTO {self._schema}.row (body) VALUES (%s)"  # noqa: S608 - a name of ours
        barrier = threading.Barrier(connections + 1)

        def work() -> None:
            mine: list[float] = []
            with psycopg.connect(self._conninfo) as conn:
                conn.execute("SELECT 1")
                conn.commit()
                barrier.wait()
                end = time.perf_counter() + seconds
                while (begun := time.perf_counter()) < end:
                    conn.execute(statement, (bytes(_MESSAGE_BYTES),))
                    conn.commit()
                    mine.append(time.perf_counter() - begun)
            took.extend(mine)

        threads = [threading.Thread(target=work, daemon=True) for _ in range(connections)]
        for thread in threads:
            thread.start()
        barrier.wait(timeout=30)
        for thread in threads:
            thread.join()
        return _rate(connections, took, seconds)


def commit_rates(database_url: str, connections: Sequence[int], seconds: float) -> Mapping[int, Rate]:
    """Measure commits of one row at several numbers of connections."""
    with Worker("committer", Committer, database_url) as committer:
        return {number: committer.call(Committer.measure, number, seconds) for number in connections}


def commits_are_durable(database_url: str) -> bool:
    """Tell whether the server answers a commit only when it is on disk."""
    return Committer(database_url).fsync()


# Kafka


class HopSource:
    """Produces into the first hop. Lives in a worker."""

    def __init__(self, client_options: Mapping[str, Any], topic: str) -> None:
        self._producer = KafkaProducer(**client_options, metrics_enabled=False)
        self._topic = topic
        self._producer.partitions_for(topic)

    def on_schedule(self, due: Sequence[float]) -> None:
        """Send a message at each of the times, in seconds from the start; each carries when it was due."""
        start = time.time() + _HEAD_START_SECONDS
        futures = []
        for offset in due:
            time.sleep(max(0.0, start + offset - time.time()))
            futures.append(self._send(start + offset))
        for future in futures:
            future.get(timeout=_ARRIVAL_PATIENCE_SECONDS)

    def at_once(self, count: int) -> None:
        """Send that many messages as fast as it goes."""
        for future in [self._send(time.time()) for _ in range(count)]:
            future.get(timeout=_ARRIVAL_PATIENCE_SECONDS)

    def _send(self, due: float) -> Any:  # noqa: ANN401 - the library's future
        stamp = str(due).encode()
        return self._producer.send(self._topic, stamp.ljust(_MESSAGE_BYTES), uuid.uuid4().bytes)


class Hop:
    """Consumes from one topic and produces into the next. Lives in a worker."""

    def __init__(self, client_options: Mapping[str, Any], topic: str, onwards: str) -> None:
        self._consumer = _consumer_of(client_options, topic)
        self._producer = KafkaProducer(**client_options, metrics_enabled=False)
        self._producer.partitions_for(onwards)
        self._onwards = onwards
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            for batch in self._consumer.poll(timeout_ms=_POLL_MS).values():
                for record in batch:
                    self._producer.send(self._onwards, record.value, record.key)


class HopSink:
    """Consumes at the end. Lives in a worker."""

    def __init__(self, client_options: Mapping[str, Any], topic: str) -> None:
        self._consumer = _consumer_of(client_options, topic)
        self._took: list[float] = []
        self._last = 0.0
        threading.Thread(target=self._run, daemon=True).start()

    def take(self, count: int) -> tuple[Sequence[float], float]:
        """Wait until that many messages arrived.

        Returns:
            How long each was under way from when it was due, and when the last one came, in seconds since the epoch.

        Raises:
            TimeoutError: Some did not arrive.
        """
        end = time.monotonic() + _ARRIVAL_PATIENCE_SECONDS
        while len(self._took) < count:
            if time.monotonic() > end:
                message = f"{count - len(self._took)} of {count} messages did not arrive"
                raise TimeoutError(message)
            time.sleep(0.01)
        took, self._took = self._took[:count], self._took[count:]
        return took, self._last

    def _run(self) -> None:
        while True:
            polled = self._consumer.poll(timeout_ms=_POLL_MS)
            now = time.time()
            for batch in polled.values():
                self._took.extend(now - float(record.value) for record in batch)
                self._last = now


class Hops:
    """Three hops: as many as a ticket takes from intake over the classifier and the dispatcher to its unit."""

    def __init__(self, source: Worker[HopSource], sink: Worker[HopSink]) -> None:
        self._source = source
        self._sink = sink

    def latency(self, due: Sequence[float]) -> Latency:
        """Send on a schedule; returns how long the messages took from when they were due."""
        self._source.call(HopSource.on_schedule, due)
        took, _ = self._sink.call(HopSink.take, len(due))
        return Latency.of(took)

    def per_second(self, count: int) -> float:
        """Send `count` messages at once; returns how many a second arrive, from the first sending to the last arrival."""
        begun = time.time()
        self._source.call(HopSource.at_once, count)
        _, last = self._sink.call(HopSink.take, count)
        return count / (last - begun)


@contextmanager
def open_hops(client_options: Mapping[str, Any]) -> Iterator[Hops]:
    """Make topics and processes for bare hops; both are gone at the end of the `with` block."""
    run = uuid.uuid4().hex[:8]
    topics = [f"bench.{run}.hop{n}" for n in range(_HOPS)]
    admin = KafkaAdminClient(**client_options)
    try:
        admin.create_topics({topic: {"num_partitions": _HOP_PARTITIONS} for topic in topics}, wait_for_metadata=True)
        with ExitStack() as stack:
            sink = stack.enter_context(Worker("hop-sink", HopSink, client_options, topics[-1]))
            for here, onwards in pairwise(topics):
                stack.enter_context(Worker("hop", Hop, client_options, here, onwards))
            source = stack.enter_context(Worker("hop-source", HopSource, client_options, topics[0]))
            hops = Hops(source, sink)
            hops.per_second(200)
            yield hops
    finally:
        admin.delete_topics(topics)
        admin.close()


def _consumer_of(client_options: Mapping[str, Any], topic: str) -> KafkaConsumer:
    consumer = KafkaConsumer(**client_options, auto_offset_reset="earliest", metrics_enabled=False)
    consumer.assign([TopicPartition(topic, n) for n in range(_HOP_PARTITIONS)])
    return consumer


def _rate(in_flight: int, took: Sequence[float], seconds: float) -> Rate:
    return Rate(in_flight, len(took) / seconds, Latency.of(took))
