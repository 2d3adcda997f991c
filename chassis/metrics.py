"""Metrics that every service has. Each is declared once, here or in a service's `telemetry.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

if TYPE_CHECKING:
    import threading

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 50, 60, 90, 120, 300)
"""Seconds. The promise of 60 s is a bucket's bound, so that its share can be read exactly."""


class ChassisMetrics:
    """The metrics of doors, topics and timers, on a registry of the process's own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.rpcs = Counter(
            "paidan_grpc_server_handled",
            "RPCs answered, by method and gRPC code.",
            ["method", "code"],
            registry=self.registry,
        )
        self.rpc_seconds = Histogram(
            "paidan_grpc_server_handling_seconds",
            "Time from the arrival of a unary RPC to its answer, in seconds.",
            ["method"],
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.streams = Gauge("paidan_grpc_server_open_streams", "Server streams that are open.", ["method"], registry=self.registry)
        self.consumed = Counter(
            "paidan_messages_consumed",
            "Messages taken from a topic, by outcome: `done`, `repeated`, `ignored` (of a type that is of no use here) or `dead_lettered`.",
            ["topic", "outcome"],
            registry=self.registry,
        )
        self.batch_size = Histogram(
            "paidan_consumer_batch_messages",
            "Messages handled in one transaction.",
            buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
            registry=self.registry,
        )
        self.retries = Counter(
            "paidan_consumer_retries", "Batches put off, by the exception that put them off.", ["error"], registry=self.registry
        )
        self.due_item_failures = Counter(
            "paidan_timer_item_failures",
            "Due tickets on which a timer could not act, though alone in their transaction; each try counts.",
            ["timer"],
            registry=self.registry,
        )
        self.due_items_pushed_back = Gauge(
            "paidan_timer_items_pushed_back",
            "Due tickets that failed and wait for their next try, as this process knows.",
            ["timer"],
            registry=self.registry,
        )
        self.published = Counter("paidan_messages_published", "Messages acknowledged by the brokers.", ["topic"], registry=self.registry)
        self.publish_failures = Counter(
            "paidan_publish_failures",
            "Messages that the brokers did not acknowledge, by topic and error; they are sent again.",
            ["topic", "error"],
            registry=self.registry,
        )
        self.topic_backoff = Gauge(
            "paidan_topic_backoff",
            "1 while a topic or a partition of it takes no writes and its messages wait; others go on.",
            ["topic"],
            registry=self.registry,
        )
        self.outbox_oldest_seconds = Gauge(
            "paidan_outbox_oldest_seconds",
            "Age of the oldest outbox row that the relay saw last, in seconds; 0 when empty.",
            registry=self.registry,
        )
        self.relay_active = Gauge("paidan_relay_active", "1 while this process publishes the service's outbox.", registry=self.registry)
        self.loop_stalled = Gauge(
            "paidan_loop_stalled",
            "1 while a loop of this process, such as `relay` or `consumer`, overruns the limit of its round; health is NOT_SERVING then.",
            ["loop"],
            registry=self.registry,
        )


class MetricsServer:
    """Serves a registry for Prometheus."""

    name = "metrics"

    def __init__(self, registry: CollectorRegistry, address: str) -> None:
        self._registry = registry
        self._host, _, port = address.rpartition(":")
        self._port = int(port)

    def run(self, stop: threading.Event) -> None:
        """Serve until `stop` is set."""
        server, thread = start_http_server(self._port, self._host, registry=self._registry)
        try:
            stop.wait()
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
