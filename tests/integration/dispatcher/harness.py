"""A dispatcher's inside on a real database: messages go in as records, what it publishes comes out of its outbox."""

from __future__ import annotations

import itertools
import json
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import text

from chassis.due_items import DueItemsTick
from chassis.message import new_id
from chassis.metrics import ChassisMetrics
from chassis.outbox import Outbox
from chassis.sink import TransactionalSink
from chassis.sql import build_engine
from chassis.testing import ManualClock
from paidan.classifier.v1 import classification_pb2
from paidan.classifier.v1 import events_pb2 as classifier
from paidan.dispatcher.v1 import events_pb2 as dispatcher
from paidan.dispatcher.v1 import unit_messages_pb2
from paidan.intake.v1 import events_pb2 as intake
from paidan.intake.v1 import ticket_pb2
from paidan.sla.v1 import deadline_pb2
from paidan.sla.v1 import events_pb2 as sla
from services.dispatcher.adapters import history, kafka, reading, sql, tables
from services.dispatcher.adapters.events import CLASSIFIER_TOPIC, INTAKE_TOPIC, SLA_TOPIC, SOURCE, Announcer, receipts_topic
from services.dispatcher.adapters.timer import DueDispatches
from services.dispatcher.application.ports import Office
from services.dispatcher.domain.choosing import Chooser
from services.dispatcher.domain.values import TicketId
from services.dispatcher.telemetry import DispatcherMetrics
from tests.unit.dispatcher.builders import CATALOGUE, NOON, POLICY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from google.protobuf.message import Message

    from services.dispatcher.application.ports import Seen

SECOND = timedelta(seconds=1)

_offsets = itertools.count()
_numbers = itertools.count(1)


@dataclass
class FakeRecord:
    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()
    partition: int = 0
    offset: int = field(default_factory=lambda: next(_offsets))
    timestamp: int = int(NOON.timestamp() * 1000)


@dataclass(frozen=True)
class Sent:
    """A message as it lies in the outbox."""

    topic: str
    body: Any
    headers: Mapping[str, str]

    @property
    def kind(self) -> str:
        """`unit:body` for a unit's message, the event's name for an announcement, `dlq` for a dead letter."""
        if self.topic.endswith(".dlq"):
            return "dlq"
        if isinstance(self.body, unit_messages_pb2.UnitMessage):
            return f"{self.body.unit}:{self.body.WhichOneof('body')}"
        return str(type(self.body).__name__)


class Harness:
    """One replica, with a clock of its own."""

    def __init__(self, url: str) -> None:
        self.clock = ManualClock(NOON)
        self.engine = build_engine(url, service="dispatcher", pool_size=4)
        self.chassis_metrics = ChassisMetrics()
        self.metrics = DispatcherMetrics(self.chassis_metrics.registry)
        self.office = Office(clock=self.clock, chooser=Chooser(CATALOGUE, POLICY), new_id=new_id)
        self.outbox = Outbox(tables.outbox, source=SOURCE)
        self.announcer = Announcer(CATALOGUE)
        self.experience = history.Experience(self.clock, timedelta(0))
        self.reading = reading.SqlReading(self.engine)
        self.handler = kafka.MessageHandler(self.office)
        self.sink = TransactionalSink(
            self.unit_of_work,
            tables.inbox,
            self.handler,
            consumer=kafka.GROUP,
            clock=self.clock,
            metrics=self.chassis_metrics,
            message_id=kafka.message_id,
            limited=kafka.counts_against_limit,
            on_dead_letter=self.handler.tell_sender,
            on_repeated=self.handler.repeated,
        )

    def close(self) -> None:
        self.engine.dispose()

    def unit_of_work(self) -> sql.DispatcherUnitOfWork:
        return sql.DispatcherUnitOfWork(self.engine, self.outbox, self.announcer, self.experience, self.metrics)

    def feed(self, *records: FakeRecord) -> None:
        """Hand over records as one poll."""
        self.sink.process(records)

    def tick(self, after: timedelta = timedelta(0)) -> int:
        """Let time pass, then let the guard of the minute act on everything that is due."""
        self.clock.advance(after)
        total = 0
        while acted := self._tick():
            total += acted
        return total

    def _tick(self) -> int:
        items = DueDispatches(self.unit_of_work, self.office)
        return DueItemsTick("guard-minute", items, self.chassis_metrics, batch=100)()

    def seen(self, ticket_id: str) -> Seen:
        found = self.reading.find(ticket_id, None)
        assert found is not None, f"no dispatch of {ticket_id}"
        return found

    def sent(self, ticket_id: str) -> list[Sent]:
        """Take what was published about a ticket since the last call, in its order; dead letters have its id in a header."""
        with self.engine.begin() as conn:
            rows = conn.execute(
                text(
                    "DELETE FROM dispatcher.outbox WHERE aggregateid = :id OR headers::jsonb @> CAST(:key AS jsonb) "
                    "RETURNING seq, aggregatetype, type, payload, headers"
                ),
                {"id": ticket_id, "key": json.dumps([["dlq_key", ticket_id]])},
            ).all()
        return [_sent(row.aggregatetype, row.type, row.payload, row.headers) for row in sorted(rows)]

    def kinds(self, ticket_id: str) -> list[str]:
        return [each.kind for each in self.sent(ticket_id)]

    def count(self, metric: str, **labels: str) -> float:
        return self.chassis_metrics.registry.get_sample_value(metric, labels) or 0.0

    def rows(self, statement: str, **bound: object) -> Sequence[Any]:
        with self.engine.connect() as conn:
            return conn.execute(text(statement), bound).all()


def _sent(topic: str, kind: str, payload: bytes, headers: Sequence[tuple[str, str]]) -> Sent:
    name = kind.rpartition(".")[2]
    if topic.endswith(".dlq"):
        body: Any = payload
    elif topic.startswith("dispatch."):
        body = json_format.Parse(payload, unit_messages_pb2.UnitMessage())
    else:
        body = getattr(dispatcher, name).FromString(payload)
    return Sent(topic, body, dict(headers))


def again(record: FakeRecord) -> FakeRecord:
    """The same message, sent once more."""
    return replace(record, offset=next(_offsets))


def new_ticket() -> TicketId:
    return TicketId(str(uuid.uuid4()))


def stamp(instant: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(instant.astimezone(UTC))
    return timestamp


def news(topic: str, message: Message, ticket_id: str, *, event_id: str | None = None, traceparent: str | None = None) -> FakeRecord:
    headers = [("ce_id", event_id or new_id()), ("ce_type", message.DESCRIPTOR.full_name), ("ce_subject", ticket_id)]
    if traceparent:
        headers.append(("traceparent", traceparent))
    return FakeRecord(topic, message.SerializeToString(), ticket_id.encode(), [(name, value.encode()) for name, value in headers])


def submitted(
    ticket_id: str, *, at: datetime = NOON, district: str = "500103", enterprise_district: str = "", **changed: Any
) -> FakeRecord:
    event_id, traceparent = changed.pop("event_id", None), changed.pop("traceparent", None)
    number = f"20261123-500103-{next(_numbers):06d}-{ticket_id[:4]}"
    facts: dict[str, Any] = {
        "ticket_id": ticket_id,
        "number": number,
        "portal": "portal-a",
        "enterprise": ticket_pb2.Enterprise(uscc="91350100M000100Y43", name="重庆某某机械有限公司"),
        "text": "这周停电三次,生产线报废一批料",
        "channel": ticket_pb2.CHANNEL_APP,
        "district_code": district,
        "enterprise_district_code": enterprise_district,
        "submit_time": stamp(at),
    }
    return news(INTAKE_TOPIC, intake.TicketSubmitted(**{**facts, **changed}), ticket_id, event_id=event_id, traceparent=traceparent)


def classified(
    ticket_id: str,
    *ranked: tuple[str, float],
    abstained: classification_pb2.AbstainReason.ValueType | None = None,
    event_id: str | None = None,
) -> FakeRecord:
    answer = classification_pb2.Classification(
        classes=[
            classification_pb2.ClassProbability(class_code=code, probability=probability)
            for code, probability in ranked or (("power_supply", 0.93),)
        ],
        abstained=abstained is not None,
        abstain_reason=abstained or classification_pb2.ABSTAIN_REASON_UNSPECIFIED,
        model_version="20261101-abcdef01",
    )
    return news(CLASSIFIER_TOPIC, classifier.TicketClassified(ticket_id=ticket_id, classification=answer), ticket_id, event_id=event_id)


def withdrawn(ticket_id: str) -> FakeRecord:
    return news(INTAKE_TOPIC, intake.TicketWithdrawn(ticket_id=ticket_id, reason="已自行解决", withdraw_time=stamp(NOON)), ticket_id)


def supplemented(ticket_id: str, words: str = "户号 123") -> FakeRecord:
    return news(
        INTAKE_TOPIC,
        intake.TicketSupplemented(ticket_id=ticket_id, text=words, attachment_refs=["a.pdf"], supplement_time=stamp(NOON)),
        ticket_id,
    )


def reopened(ticket_id: str, count: int = 1) -> FakeRecord:
    return news(
        INTAKE_TOPIC,
        intake.TicketReopened(ticket_id=ticket_id, reason="又停电了", reopen_count=count, reopen_time=stamp(NOON)),
        ticket_id,
    )


def deadline(
    ticket_id: str,
    event: Callable[..., Message] = sla.DeadlineSet,
    due: datetime | None = NOON + timedelta(days=3),
    kind: deadline_pb2.DeadlineKind.ValueType = deadline_pb2.DEADLINE_KIND_RESOLUTION,
    cycle: int = 0,
) -> FakeRecord:
    body = deadline_pb2.Deadline(ticket_id=ticket_id, kind=kind, cycle=cycle, due_time=stamp(due) if due else None)
    return news(SLA_TOPIC, event(deadline=body, event_time=stamp(NOON)), ticket_id)


def receipt(unit: str, body: Mapping[str, Any] | bytes) -> FakeRecord:
    """A receipt as an outside system sends it: JSON, no key, no headers."""
    return FakeRecord(receipts_topic(unit), body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode())


def accepting(unit: str, ticket_id: str, epoch: int = 1, **changed: Any) -> FakeRecord:
    return receipt(unit, {"receiptId": new_id(), "ticketId": ticket_id, "epoch": epoch, "accept": {}, **changed})


def returning(unit: str, ticket_id: str, epoch: int = 1, *, to: str = "", reason: str = "NOT_OUR_COMPETENCE") -> FakeRecord:
    action = {"reason": f"RETURN_REASON_{reason}", "suggestedUnit": to, "note": "不归我们"}
    return receipt(unit, {"receiptId": new_id(), "ticketId": ticket_id, "epoch": epoch, "return": action})


def resolving(unit: str, ticket_id: str, epoch: int = 1) -> FakeRecord:
    return receipt(
        unit,
        {
            "receiptId": new_id(),
            "ticketId": ticket_id,
            "epoch": epoch,
            "resolve": {"resolution": "已恢复供电", "attachmentRefs": ["r.pdf"]},
        },
    )
