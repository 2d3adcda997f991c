"""A second broker beside the local one, and a topic that moves between them."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from kafka import KafkaAdminClient, TopicPartition
from kafka.errors import KafkaError

from deploy.local.cache import kafka_jars
from deploy.local.part import LocalPart
from deploy.local.process import wait_until
from deploy.local.tools import require_java
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from deploy.local.kafka import LocalKafka

_START_TIMEOUT = timedelta(seconds=60)
_JVM = ("-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-XX:+ExitOnOutOfMemoryError")
_FIRST, _SECOND = 1, 2


class SecondBroker(LocalPart):
    """Node 2, a broker without a vote: it may die, and the cluster and everything on node 1 go on."""

    name: ClassVar[str] = "kafka-2"

    def __init__(self, first: LocalKafka) -> None:
        """Describe a broker of the cluster whose only node is `first`, which must run."""
        super().__init__(first.data_dir.with_name(self.name))
        self._first = first

    def take(self, topic: str) -> None:
        """Move a topic of one partition to this broker, with what is in it; returns when this broker leads it."""
        self._move(topic, _SECOND)

    def give_back(self, topic: str) -> None:
        """Move a topic of one partition to the first broker."""
        self._move(topic, _FIRST)

    def _move(self, topic: str, node: int) -> None:
        with KafkaAdminClient(bootstrap_servers=self._first.bootstrap) as admin:
            admin.alter_partition_reassignments({TopicPartition(topic, 0): [node]})

            def moved() -> bool:
                (partition,) = admin.describe_topics([topic])[0]["partitions"]
                return (partition["leader_id"], partition["replica_nodes"]) == (node, [node])

            eventually(moved, f"{topic} on node {node}", within=30, every=0.2)

    def _launch(self) -> None:
        java = [require_java(), *_JVM, "-cp", os.pathsep.join(map(str, kafka_jars()))]
        data = self.data_dir / "data"
        properties = self.data_dir / "server.properties"
        address = f"CLIENTS://127.0.0.1:{self.port}"
        own = {
            "process.roles": "broker",
            "node.id": str(_SECOND),
            "listeners": address,
            "advertised.listeners": address,
            "log.dirs": str(data),
        }
        lines = (self._first.data_dir / "server.properties").read_text().splitlines()
        shared = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
        properties.write_text("".join(f"{name}={value}\n" for name, value in (shared | own).items()))
        if not (data / "meta.properties").exists():
            argv = [*java, "kafka.tools.StorageTool", "format", "-t", self._cluster_id(), "-c", str(properties)]
            subprocess.run(argv, check=True, capture_output=True, timeout=60)
        process = self._run([*java, "kafka.Kafka", str(properties)])
        wait_until(self._answers, _START_TIMEOUT, "answer of both brokers", process)

    def _cluster_id(self) -> str:
        lines = (self._first.data_dir / "data" / "meta.properties").read_text().splitlines()
        return next(line.removeprefix("cluster.id=") for line in lines if line.startswith("cluster.id="))

    def _answers(self) -> bool:
        with contextlib.suppress(OSError, KafkaError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            with KafkaAdminClient(bootstrap_servers=f"127.0.0.1:{self.port}", bootstrap_timeout_ms=2_000) as admin:
                return len(admin.describe_cluster()["brokers"]) == 2
        return False
