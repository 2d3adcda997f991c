"""A running Paidan as those around it see it: its doors, its topics, and for the last look its database."""

from __future__ import annotations

import json
import threading
import uuid
from collections import defaultdict
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import grpc
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient, OffsetSpec
from kafka.errors import KafkaError
from kafka.structs import TopicPartition
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from chassis.caller import Caller, Role
from cli.connection import bearer, issue_tokens
from deploy.local.stack import open_stack
from deploy.topics import all_topics
from paidan.classifier.v1.classifier_service_pb2_grpc import ClassifierServiceStub
from paidan.dispatcher.v1.dispatcher_service_pb2_grpc import DispatcherServiceStub
from paidan.intake.v1.intake_service_pb2_grpc import IntakeServiceStub
from paidan.sla.v1.sla_service_pb2_grpc import SlaServiceStub
from tests.support.tap import Seen, Tap
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Row

    from cli.connection import Metadata
    from deploy.local.stack import LocalStack

TICKETS = "intake.tickets.v1"
CLASSIFICATIONS = "classifier.classifications.v1"
ASSIGNMENTS = "dispatcher.assignments.v1"
DEADLINES = "sla.events.v1"
INTERNAL = (TICKETS, CLASSIFICATIONS, ASSIGNMENTS, DEADLINES)

_RECEIPTS = tuple(topic for topic in all_topics() if topic.startswith("receipts.") and not topic.endswith(".dlq"))
READERS = {
    "paidan-intake": (ASSIGNMENTS, DEADLINES),
    "paidan-classifier": (TICKETS,),
    "paidan-dispatcher": (TICKETS, CLASSIFICATIONS, DEADLINES, *_RECEIPTS),
    "paidan-classifier-outcomes": (TICKETS, CLASSIFICATIONS, ASSIGNMENTS),
    "paidan-sla": (TICKETS, ASSIGNMENTS),
}
"""Consumer group → what it has to read to the end."""

_PARTITIONS = [TopicPartition(topic, n) for topic, count in all_topics().items() for n in range(count)]
_OUTBOXES = ("intake", "classifier", "dispatcher", "sla")
_CHANNEL_OPTIONS = (
    # A service that comes back is found at once.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 300),
    ("grpc.use_local_subchannel_pool", 1),
)


def open_channel(*addresses: str) -> grpc.Channel:
    """Open a channel to a service, or one that takes its replicas in turn."""
    if len(addresses) == 1:
        return grpc.insecure_channel(addresses[0], options=_CHANNEL_OPTIONS)
    options = (*_CHANNEL_OPTIONS, ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})))
    return grpc.insecure_channel("ipv4:" + ",".join(addresses), options=options)


class City:
    """A stack, with a tap on all its topics."""

    def __init__(self, stack: LocalStack) -> None:
        self.stack = stack
        self.bootstrap = stack.parts.kafka_bootstrap
        self.database_url = stack.parts.database_url
        self.engine = create_engine(self.database_url, pool_pre_ping=True)
        self._channels = {name: open_channel(service.address) for name, service in stack.services.items()}
        self.intake = IntakeServiceStub(self._channels["intake"])
        self.classifier = ClassifierServiceStub(self._channels["classifier"])
        self.dispatcher = DispatcherServiceStub(self._channels["dispatcher"])
        self.sla = SlaServiceStub(self._channels["sla"])
        self._tokens: dict[Caller, Metadata] = {}
        self._lock = threading.Lock()
        self._records: defaultdict[str, list[Seen]] = defaultdict(list)
        self._dead_letters: list[Seen] = []
        self._listeners: list[Callable[[Seen], None]] = []
        self._admin: KafkaAdminClient | None = None
        self._tap = Tap(self.bootstrap, all_topics(), self._note)
        self._tap.start()

    def close(self) -> None:
        """Let go of everything."""
        self._tap.stop()
        self._forget_admin()
        for channel in self._channels.values():
            channel.close()
        self.engine.dispose()

    # Who calls

    def token(self, role: Role, subject: str) -> Metadata:
        """Return the call metadata of a caller."""
        caller = Caller(role, subject)
        if caller not in self._tokens:
            self._tokens[caller] = bearer(issue_tokens(self.database_url, [caller], note="test")[0])
        return self._tokens[caller]

    def new_portal(self) -> str:
        """Return the code of a portal that nobody used before."""
        return f"portal-{uuid.uuid4().hex[:12]}"

    def token_of_portal(self, portal: str) -> Metadata:
        """Return the call metadata of a portal."""
        return self.token(Role.PORTAL, portal)

    @property
    def desk(self) -> Metadata:
        """The municipal desk."""
        return self.token(Role.DESK, "municipal")

    @property
    def operator(self) -> Metadata:
        """Somebody of operations."""
        return self.token(Role.OPERATOR, "on-call")

    def new_producer(self) -> KafkaProducer:
        """Return a client that writes to topics."""
        return KafkaProducer(bootstrap_servers=self.bootstrap, api_version=(2, 6), allow_auto_create_topics=False, metrics_enabled=False)

    # What is on the topics

    def listen(self, listener: Callable[[Seen], None]) -> None:
        """Call `listener` with every record from now on, in the tap's thread."""
        with self._lock:
            self._listeners.append(listener)

    def records(self, ticket_id: str) -> list[Seen]:
        """Return all records about a ticket so far, those of a topic in the order of its log."""
        with self._lock:
            return list(self._records[ticket_id])

    def all_records(self) -> list[Seen]:
        """Return all records of all topics so far, dead letters included."""
        with self._lock:
            return [record for records in self._records.values() for record in records] + self._dead_letters

    def messages(self, ticket_id: str, unit: str | None = None, body: str | None = None) -> list[dict[str, Any]]:
        """Return what units were told of a ticket, each message once; narrowed to a unit and to a kind of message."""
        told: dict[str, dict[str, Any]] = {}
        for record in self.records(ticket_id):
            if record.topic.startswith("dispatch.") and unit in {None, record.topic.split(".")[1]}:
                message = json.loads(record.value)
                if body is None or body in message:
                    told.setdefault(message["messageId"], message)
        return list(told.values())

    def dead_letters(self) -> list[Seen]:
        """Return all dead letters so far."""
        with self._lock:
            return list(self._dead_letters)

    def catch_up(self) -> None:
        """Return when the tap has read what is on the topics now."""
        self._tap.catch_up()

    def _note(self, record: Seen) -> None:
        with self._lock:
            if record.topic.endswith(".dlq"):
                self._dead_letters.append(record)
            else:
                self._records[record.key].append(record)
            listeners = list(self._listeners)
        for listener in listeners:
            listener(record)

    # What is under way

    def wait_quiet(self, busy: Callable[[], str], *, within: float = 90) -> None:
        """Return when nothing is under way any more: no message unsent or unread, and `busy` finds nothing.

        While one place is looked at, a message may move to one that was looked at before: two looks in a row must find nothing, with
        nothing written in between.

        Raises:
            AssertionError: It took too long.
        """
        before: list[tuple[str, int]] = []

        def quiet() -> bool:
            left, written = self._look(busy)
            same = left == "" and before == [("", written)]
            before[:] = [(left, written)]
            return same

        eventually(quiet, lambda: f"quiet; the last look said {before}", within=within, every=0.2)
        self.catch_up()

    def _look(self, busy: Callable[[], str]) -> tuple[str, int]:
        try:
            ends, unread = self._unread()
            unsent = self.unsent()
        except (KafkaError, OperationalError, OSError) as error:
            self._forget_admin()
            return f"{type(error).__name__}", -1
        if unsent or unread:
            return f"{unsent} unsent, unread {unread}", ends
        return busy(), ends

    def unsent(self) -> int:
        """Return how many messages wait in outboxes."""
        with self.engine.connect() as conn:
            return sum(int(conn.scalar(text(f"SELECT count(*) FROM {name}.outbox")) or 0) for name in _OUTBOXES)

    def _unread(self) -> tuple[int, dict[str, int]]:
        """Return how many records were ever written, and how many of them each group has not done yet."""
        if self._admin is None:
            self._admin = KafkaAdminClient(bootstrap_servers=self.bootstrap, bootstrap_timeout_ms=2000, request_timeout_ms=5000)
        found = self._admin.list_partition_offsets(dict.fromkeys(_PARTITIONS, OffsetSpec.LATEST))
        ends = {partition: each.offset for partition, each in found.items()}
        done = self._admin.list_group_offsets(dict.fromkeys(READERS))
        unread = {}
        for group, topics in READERS.items():
            offsets = {partition: max(0, each.offset) for partition, each in done[group].items()}
            left = sum(end - offsets.get(partition, 0) for partition, end in ends.items() if partition.topic in topics)
            if left:
                unread[group] = left
        return sum(ends.values()), unread

    def _forget_admin(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            with suppress(KafkaError, OSError):
                admin.close()

    def handled_by(self, service: str, ids: Collection[str]) -> set[str]:
        """Return which of these messages a service remembers as handled."""
        return {row.message_id for row in self.query(f"SELECT message_id FROM {service}.inbox WHERE message_id = ANY(:ids)", ids=list(ids))}

    def waiting_for_decision(self, ticket_ids: Collection[str]) -> int:
        """Return for how many of these tickets the guard of the minute has still to act."""
        waiting = "SELECT FROM dispatcher.dispatch WHERE next_action_time IS NOT NULL AND ticket_id = ANY(:ids)"
        return len(self.query(waiting, ids=list(ticket_ids)))

    def query(self, statement: str, **parameters: object) -> Sequence[Row[Any]]:
        """Look into the database."""
        with self.engine.connect() as conn:
            return conn.execute(text(statement), parameters).all()


@contextmanager
def open_city(data_dir: Path) -> Iterator[City]:
    """Start a stack of its own, and stop it at the end of the `with` block."""
    with open_stack(data_dir, on_progress=lambda _line: None) as stack:
        city = City(stack)
        try:
            yield city
        finally:
            city.close()
