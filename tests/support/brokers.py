"""A cluster of two brokers, so that one can die while the other serves: the first is also the controller."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from kafka.admin import KafkaAdminClient

from deploy.local.cache import kafka_jars
from deploy.local.part import LocalPart
from deploy.local.ports import free_port
from deploy.local.process import wait_until
from deploy.local.tools import require_java

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_JVM = ("-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
_START_TIMEOUT = timedelta(seconds=60)
_PROPERTIES = """\
process.roles={roles}
node.id={node}
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners={listeners}
advertised.listeners=CLIENTS://127.0.0.1:{port}
listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=CLIENTS
controller.listener.names=CONTROLLER
log.dirs={log_dir}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=4
"""


class Node(LocalPart):
    """One of the brokers."""

    name: ClassVar[str] = "broker"

    def __init__(self, data_dir: Path, number: int, cluster_id: str, controller_port: int) -> None:
        super().__init__(data_dir, port=free_port())
        self._number = number
        self._cluster_id = cluster_id
        self._controller_port = controller_port

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _launch(self) -> None:
        java = [require_java(), *_JVM, "-cp", os.pathsep.join(map(str, kafka_jars()))]
        properties, log_dir = self.data_dir / "server.properties", self.data_dir / "data"
        listeners = f"CLIENTS://127.0.0.1:{self.port}"
        if self._number == 1:
            listeners += f",CONTROLLER://127.0.0.1:{self._controller_port}"
        properties.write_text(
            _PROPERTIES.format(
                roles="broker,controller" if self._number == 1 else "broker",
                node=self._number,
                controller_port=self._controller_port,
                listeners=listeners,
                port=self.port,
                log_dir=log_dir,
            ),
        )
        if not (log_dir / "meta.properties").exists():
            argv = [*java, "kafka.tools.StorageTool", "format", "-t", self._cluster_id, "-c", str(properties)]
            subprocess.run(argv, check=True, capture_output=True, timeout=60)
        process = self._run([*java, "kafka.Kafka", str(properties)])
        wait_until(self._listens, _START_TIMEOUT, "open port", process)

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False


@dataclass
class TwoBrokers:
    """Both brokers, running. A test may kill `second`."""

    first: Node
    second: Node

    @property
    def bootstrap(self) -> str:
        return self.first.bootstrap

    def make_topics(self, replicas: Mapping[str, Sequence[int]]) -> None:
        """Create topics, each with one replica of each of its partitions on the brokers of the given numbers."""
        _wait_until_both_are_members([self.first, self.second])
        topics = {name: {"assignments": {i: [broker] for i, broker in enumerate(brokers)}} for name, brokers in replicas.items()}
        with KafkaAdminClient(bootstrap_servers=self.first.bootstrap) as admin:
            admin.create_topics(topics, timeout_ms=20_000, wait_for_metadata=True)


@contextmanager
def two_brokers(data_dir: Path) -> Iterator[TwoBrokers]:
    """Start a cluster in a directory of its own; it ends with the block."""
    cluster_id = base64.urlsafe_b64encode((uuid.uuid4().int >> 1).to_bytes(16)).decode().rstrip("=")
    controller_port = free_port()
    nodes = [Node(data_dir / f"broker-{number}", number, cluster_id, controller_port) for number in (1, 2)]
    try:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(Node.start, nodes))
        _wait_until_both_are_members(nodes)
        yield TwoBrokers(*nodes)
    finally:
        for node in reversed(nodes):
            node.kill()


def _wait_until_both_are_members(nodes: Sequence[Node]) -> None:
    def members() -> bool:
        with KafkaAdminClient(bootstrap_servers=nodes[0].bootstrap) as admin:
            return len(admin.describe_cluster()["brokers"]) == len(nodes)

    wait_until(members, _START_TIMEOUT, "cluster of two", nodes[1].process)
