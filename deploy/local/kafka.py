"""One Apache Kafka broker in KRaft mode, started from its official jars."""

import base64
import contextlib
import os
import shutil
import socket
import subprocess
import uuid
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from deploy.local.cache import kafka_jars
from deploy.local.errors import LocalPartError
from deploy.local.part import LocalPart
from deploy.local.ports import free_port
from deploy.local.process import wait_until
from deploy.local.tools import java_environment, require_java

# Relative to the working directory: Java reads a properties file as Latin-1, and a comma separates paths in it.
_DATA = "data"
_START_TIMEOUT = timedelta(seconds=60)
_FORMAT_TIMEOUT_SECONDS = 60
_LOG_CONFIG = Path(__file__).with_name("kafka") / "log4j2.properties"

_JVM = (
    "-Xmx512m",
    # The first compiler only: measured, the broker is up in 1.7 s instead of 2.6 s with half the processor time, and
    # takes and gives as many messages a second as a Python client can.
    "-XX:TieredStopAtLevel=1",
    # A small run writes no counters into a memory-mapped file of /tmp, which can stall a JVM.
    "-XX:-UsePerfData",
    # As the official start script: out of memory ends the broker, so that its death is seen.
    "-XX:+ExitOnOutOfMemoryError",
    f"-Dlog4j2.configurationFile={_LOG_CONFIG}",
)

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=CLIENTS://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=CLIENTS://127.0.0.1:{port}
listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=CLIENTS
controller.listener.names=CONTROLLER
log.dirs={log_dir}

# A topic that nobody declared is a mistake; creating it on first use would hide the mistake.
auto.create.topics.enable=false

# One node holds the only replica of everything.
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1

# The default of 50 partitions costs every fresh broker its first consumer's patience.
offsets.topic.num.partitions=8
transaction.state.log.num.partitions=8
share.coordinator.state.topic.num.partitions=8

# A broker that comes back after SIGKILL is refused for as long as the controller takes its predecessor for alive, 9 s
# by default. It is one process: it cannot lose sight of itself through a network.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500

# Else every first join of a group waits 3 s for members that do not come.
group.initial.rebalance.delay.ms=0

num.network.threads=2
num.io.threads=4
"""


class LocalKafka(LocalPart):
    """A single broker and controller on 127.0.0.1, plaintext, durable across ``kill``.

    What was acknowledged survives ``kill``: it is with the operating system by then. It is not synced to disk for
    each record, so a power cut is another matter.
    """

    name: ClassVar[str] = "kafka"

    def __init__(self, data_dir: Path, *, port: int | None = None) -> None:
        """Describe the broker; nothing is started or written yet.

        Args:
            data_dir: Directory for its data, configuration and log; created on the first start.
            port: TCP port for clients; None takes a free one on the first start.
        """
        super().__init__(data_dir, port=port)
        self._controller_port: int | None = None

    @property
    def bootstrap(self) -> str:
        """Address for clients, ``127.0.0.1:PORT``; known from the first start on and the same ever after."""
        return f"127.0.0.1:{self.port}"

    @property
    def _identity(self) -> Path:
        """The file that the formatter writes last: without it, an earlier try was cut short."""
        return self._log_dir / "meta.properties"

    @property
    def _log_dir(self) -> Path:
        return self.data_dir / _DATA

    def _launch(self) -> None:
        java = [require_java(), *_JVM, "-cp", os.pathsep.join(map(str, kafka_jars()))]
        self._controller_port = self._controller_port or free_port()
        properties = self.data_dir / "server.properties"
        properties.write_text(
            _PROPERTIES.format(port=self.port, controller_port=self._controller_port, log_dir=_DATA),
            encoding="ascii",
        )
        if not self._identity.exists():
            shutil.rmtree(self._log_dir, ignore_errors=True)
            self._format(java, properties)
        process = self._run([*java, "kafka.Kafka", str(properties)], environment=java_environment())
        wait_until(self._answers, _START_TIMEOUT, "answer to a metadata request", process)

    def _format(self, java: list[str], properties: Path) -> None:
        # An id of Kafka's is 16 bytes in base64. The cleared top bit keeps it from starting with "-", an option's sign.
        cluster_id = base64.urlsafe_b64encode((uuid.uuid4().int >> 1).to_bytes(16)).decode().rstrip("=")
        argv = [*java, "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(properties)]
        try:
            said = subprocess.run(
                argv,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=self.data_dir,
                env=java_environment(),
                check=False,
                timeout=_FORMAT_TIMEOUT_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            problem = f"formatting its storage took more than {_FORMAT_TIMEOUT_SECONDS} s"
            raise LocalPartError(self.name, problem) from error
        if said.returncode != 0:
            raise LocalPartError(self.name, "could not format its storage", log_tail=said.stdout[-2000:])

    def _answers(self) -> bool:
        # The plain connection first: the client would log each refusal as an error.
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return self._tells_our_cluster()
        return False

    def _tells_our_cluster(self) -> bool:
        """Ask for metadata; a broker of somebody else that has our port gives another cluster's id."""
        try:
            with KafkaAdminClient(bootstrap_servers=self.bootstrap, bootstrap_timeout_ms=2_000) as admin:
                cluster = admin.describe_cluster()
        except KafkaError:
            return False
        ours = f"cluster.id={cluster['cluster_id']}" in self._identity.read_text().splitlines()
        return ours and len(cluster["brokers"]) == 1
