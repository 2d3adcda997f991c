"""What dispatcher and SLA service tell on their topics becomes visible on the ticket, once, in order, and never backwards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from chassis.clock import SystemClock
from chassis.metrics import ChassisMetrics
from chassis.sink import TransactionalSink
from paidan.dispatcher.v1 import dispatch_pb2
from paidan.dispatcher.v1 import events_pb2 as dispatcher
from paidan.intake.v1 import ticket_pb2
from paidan.sla.v1 import deadline_pb2
from paidan.sla.v1 import events_pb2 as sla
from services.intake.adapters import sql, tables
from services.intake.adapters.events import DISPATCHER_TOPIC, SLA_TOPIC
from services.intake.adapters.kafka import GROUP, TOPICS, handle_messages
from services.intake.domain.types import TicketState
from tests.unit.chassis.builders import ARecord
from tests.unit.intake.builders import HELPER, LEAD, STRANGER

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from tests.integration.intake.harness import Client, Store

NOW = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
DUE = datetime(2026, 11, 26, 16, 0, tzinfo=UTC)


@pytest.fixture
def sink(store: Store) -> TransactionalSink[sql.IntakeUnitOfWork]:
    return TransactionalSink(store.open, tables.inbox, handle_messages, consumer=GROUP, clock=SystemClock(), metrics=ChassisMetrics())


def record(message: Message, *, message_id: str = "", topic: str = DISPATCHER_TOPIC, value: bytes | None = None) -> ARecord:
    headers = [("ce_type", message.DESCRIPTOR.full_name.encode())]
    if message_id:
        headers.append(("ce_id", message_id.encode()))
    return ARecord(message.SerializeToString() if value is None else value, headers=headers, topic=topic)


def at(field: str, minutes: int = 0) -> dict[str, Any]:
    return {field: NOW + timedelta(minutes=minutes)}


def dispatched(ticket_id: str, epoch: int = 1, lead: str = LEAD) -> dispatcher.TicketDispatched:
    return dispatcher.TicketDispatched(
        ticket_id=ticket_id,
        epoch=epoch,
        lead_unit=lead,
        co_handler_units=[HELPER],
        class_code="c01",
        explanation_zh="按类别派单",
        **at("dispatch_time"),
    )


def accepted(ticket_id: str, epoch: int = 1) -> dispatcher.TicketAccepted:
    return dispatcher.TicketAccepted(ticket_id=ticket_id, epoch=epoch, unit=LEAD, **at("accept_time", 1))


def resolved(ticket_id: str, epoch: int = 1) -> dispatcher.TicketResolved:
    return dispatcher.TicketResolved(ticket_id=ticket_id, epoch=epoch, unit=LEAD, resolution="已办结", **at("resolve_time", 9))


def asked(ticket_id: str, epoch: int = 1) -> dispatcher.SupplementRequested:
    return dispatcher.SupplementRequested(ticket_id=ticket_id, epoch=epoch, unit=LEAD, question="请补充合同", **at("request_time", 2))


def deadline(ticket_id: str, due: datetime | None = DUE, kind: int = deadline_pb2.DEADLINE_KIND_RESOLUTION) -> deadline_pb2.Deadline:
    return deadline_pb2.Deadline(ticket_id=ticket_id, kind=kind, due_time=due)


def told(client: Client, ticket_id: str) -> list[tuple[str, str, str]]:
    """Return kind, unit and note of every change but the submission."""
    changes = []
    watch = client.watch(ticket_id, after=1)
    for _ in range(client.GetTicket(ticket_id=ticket_id).ticket.version - 1):
        change = next(watch).change
        changes.append((change.kind, change.unit, change.note))
    watch.cancel()
    return changes


def test_intake_listens_to_the_dispatcher_and_to_the_sla_service() -> None:
    assert TOPICS == (DISPATCHER_TOPIC, SLA_TOPIC)


def test_a_ticket_follows_its_dispatch_from_the_first_unit_to_the_result(sink: Any, portal: Client) -> None:
    key = portal.submit().ticket_id
    extension = dispatch_pb2.ExtensionRequest(workdays=2, reason="需要现场核查", **at("request_time", 5))

    sink.process(
        [
            record(dispatcher.TicketSentToTriage(ticket_id=key, **at("triage_time"))),
            record(dispatched(key)),
            record(
                dispatcher.TicketReturned(ticket_id=key, epoch=1, unit=LEAD, note="不归我们", bounce_count=1, **at("return_time", 1)),
            ),
            record(dispatched(key, 2)),
            record(accepted(key, 2)),
            record(dispatcher.ProgressReported(ticket_id=key, epoch=2, unit=LEAD, note="已联系企业", **at("report_time", 4))),
            record(dispatcher.ExtensionRequested(ticket_id=key, epoch=2, unit=LEAD, extension=extension)),
            record(dispatcher.ExtensionDecided(ticket_id=key, epoch=2, unit=LEAD, granted=True, note="同意", **at("decide_time", 6))),
            record(dispatcher.ExtensionDecided(ticket_id=key, epoch=2, unit=LEAD, granted=False, note="不同意", **at("decide_time", 7))),
            record(resolved(key, 2)),
        ],
    )

    ticket = portal.GetTicket(ticket_id=key).ticket
    assert (ticket.state, ticket.dispatch_epoch, ticket.lead_unit) == (ticket_pb2.TICKET_STATE_RESOLVED, 2, LEAD)
    assert (list(ticket.co_handler_units), ticket.class_code, ticket.resolution) == ([HELPER], "c01", "已办结")
    assert told(portal, key) == [
        ("sent_to_triage", "", ""),
        ("dispatched", LEAD, "按类别派单"),
        ("returned", LEAD, "不归我们"),
        ("dispatched", LEAD, "按类别派单"),
        ("accepted", LEAD, ""),
        ("progress", LEAD, "已联系企业"),
        ("extension_requested", LEAD, "需要现场核查"),
        ("extension_granted", LEAD, "同意"),
        ("extension_refused", LEAD, "不同意"),
        ("resolved", LEAD, "已办结"),
    ]


def test_what_the_desk_declines_tells_why_and_where_to_turn(sink: Any, portal: Client) -> None:
    key = portal.submit().ticket_id

    sink.process([record(dispatcher.TicketDeclined(ticket_id=key, reason="不属于本市", right_channel="外地12345", **at("decline_time")))])

    ticket = portal.GetTicket(ticket_id=key).ticket
    assert ticket.state == ticket_pb2.TICKET_STATE_DECLINED
    assert ticket.decline_reason == "不属于本市\n外地12345"


def test_the_due_time_is_set_cleared_moved_and_warned_of(sink: Any, portal: Client) -> None:
    key = portal.submit().ticket_id
    later = DUE + timedelta(days=1)
    seen = []
    for message in (
        sla.DeadlineSet(deadline=deadline(key), event_time=NOW),
        sla.DeadlinePaused(deadline=deadline(key, None), event_time=NOW),
        sla.DeadlineResumed(deadline=deadline(key, later), event_time=NOW),
        sla.DeadlineExtended(deadline=deadline(key, later + timedelta(days=1)), event_time=NOW),
        sla.DeadlineAtRisk(deadline=deadline(key, later + timedelta(days=1)), event_time=NOW),
        sla.DeadlineBreached(deadline=deadline(key, later + timedelta(days=1)), event_time=NOW),
    ):
        sink.process([record(message, topic=SLA_TOPIC)])
        ticket = portal.GetTicket(ticket_id=key).ticket
        seen.append(ticket.due_time.ToDatetime(UTC) if ticket.HasField("due_time") else None)

    assert seen == [DUE, None, later, *[later + timedelta(days=1)] * 3]
    assert [kind for kind, _, _ in told(portal, key)] == [
        "due_time_set",
        "clock_paused",
        "clock_resumed",
        "due_time_extended",
        "due_time_near",
        "due_time_passed",
    ]


def test_deadlines_of_the_dispatch_and_events_that_it_has_no_use_for_change_nothing(sink: Any, portal: Client, store: Store) -> None:
    ticket = portal.submit()
    key = ticket.ticket_id

    sink.process(
        [
            record(sla.DeadlineSet(deadline=deadline(key, kind=deadline_pb2.DEADLINE_KIND_DISPATCH), event_time=NOW), topic=SLA_TOPIC),
            record(sla.DeadlineMet(deadline=deadline(key), event_time=NOW), topic=SLA_TOPIC),
            record(sla.DeadlineCancelled(deadline=deadline(key), event_time=NOW), topic=SLA_TOPIC),
            ARecord(b"\xff", headers=[("ce_type", b"paidan.dispatcher.v1.SomethingNewer")], topic=DISPATCHER_TOPIC),
        ],
    )

    assert portal.GetTicket(ticket_id=key).ticket == ticket
    assert _letters(store, since=key) == []


def test_a_message_that_comes_twice_is_applied_once(sink: Any, portal: Client) -> None:
    key = portal.submit().ticket_id
    batch = [record(dispatched(key), message_id=f"{key}-1"), record(accepted(key), message_id=f"{key}-2")]

    for _ in range(3):
        sink.process(batch)

    assert portal.GetTicket(ticket_id=key).ticket.version == 3


def test_what_comes_late_changes_nothing(sink: Any, portal: Client) -> None:
    key = portal.submit().ticket_id
    sink.process([record(dispatched(key, 1)), record(dispatched(key, 3, STRANGER))])
    before = portal.GetTicket(ticket_id=key).ticket

    sink.process(
        [record(message) for message in (dispatched(key, 2), dispatched(key, 3), accepted(key, 1), asked(key, 2), resolved(key, 1))]
    )

    assert portal.GetTicket(ticket_id=key).ticket == before


def test_a_triage_that_is_redriven_after_the_desk_decided_changes_nothing(sink: Any, portal: Client) -> None:
    key = portal.submit().ticket_id
    triage = dispatcher.TicketSentToTriage(ticket_id=key, epoch=0, **at("triage_time"))
    sink.process([record(triage), record(dispatched(key, 1))])
    before = portal.GetTicket(ticket_id=key).ticket

    sink.process([record(triage, message_id=f"{key}-redriven")])

    assert portal.GetTicket(ticket_id=key).ticket == before


def test_late_news_of_the_clock_before_a_reopening_change_nothing(sink: Any, store: Store, portal: Client) -> None:
    key = portal.submit().ticket_id
    store.bring(key, TicketState.RESOLVED)
    reopened = portal.ReopenTicket(ticket_id=key, reason="又坏了").ticket

    for event in (sla.DeadlineSet, sla.DeadlineExtended, sla.DeadlineAtRisk, sla.DeadlineBreached):
        sink.process([record(event(deadline=deadline(key), event_time=NOW), topic=SLA_TOPIC)])

    assert portal.GetTicket(ticket_id=key).ticket == reopened


def test_what_comes_after_a_withdrawal_changes_nothing(sink: Any, portal: Client) -> None:
    key = portal.submit().ticket_id
    sink.process([record(dispatched(key))])
    withdrawn = portal.WithdrawTicket(ticket_id=key).ticket

    sink.process(
        [
            record(accepted(key)),
            record(asked(key)),
            record(resolved(key)),
            record(dispatched(key, 2)),
            record(dispatcher.TicketSentToTriage(ticket_id=key, **at("triage_time"))),
            record(dispatcher.TicketDeclined(ticket_id=key, **at("decline_time"))),
            record(sla.DeadlineSet(deadline=deadline(key), event_time=NOW), topic=SLA_TOPIC),
        ],
    )

    assert portal.GetTicket(ticket_id=key).ticket == withdrawn


def test_many_tickets_in_one_batch_each_get_their_own(sink: Any, portal: Client) -> None:
    keys = [portal.submit().ticket_id for _ in range(20)]

    sink.process([record(message(key)) for message in (dispatched, accepted, resolved) for key in keys])

    tickets = [portal.GetTicket(ticket_id=key).ticket for key in keys]
    assert {(ticket.state, ticket.version) for ticket in tickets} == {(ticket_pb2.TICKET_STATE_RESOLVED, 4)}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (lambda _: record(dispatched("never-stored")), "UNKNOWN_TICKET"),
        (lambda _: record(dispatched("")), "INCOMPLETE"),
        (lambda key: record(dispatched(key), value=b"\xff\xff\xff"), "UNDECODABLE"),
        (lambda _: record(dispatched("a\x00b")), "BUG"),
        (lambda key: record(dispatched(key, 2, "a\x00b")), "BUG"),
        (lambda key: record(_dispatched_at(key, 2**60)), "INCOMPLETE"),
        (lambda _: ARecord(b"", headers=[], topic=DISPATCHER_TOPIC), "NO_TYPE"),
    ],
    ids=["unknown ticket", "no ticket", "no message", "NUL in the key", "NUL in a unit", "no time", "no type"],
)
def test_what_nobody_can_apply_becomes_a_dead_letter_and_its_neighbours_are_applied(
    sink: Any, portal: Client, store: Store, bad: Any, reason: str
) -> None:
    key = portal.submit().ticket_id

    sink.process([record(dispatched(key)), bad(key), record(accepted(key))])

    assert portal.GetTicket(ticket_id=key).ticket.state == ticket_pb2.TICKET_STATE_ACCEPTED
    (letter,) = _letters(store, since=key)
    assert letter["dlq_reason"] == reason


def _dispatched_at(ticket_id: str, seconds: int) -> dispatcher.TicketDispatched:
    message = dispatched(ticket_id)
    message.dispatch_time.seconds = seconds
    return message


def _letters(store: Store, *, since: str) -> list[dict[str, str]]:
    """Return the headers of the dead letters that were buried after a ticket was stored."""
    with store.admin.connect() as conn:
        rows = conn.execute(tables.outbox.select().order_by(tables.outbox.c.seq)).all()
    begin = next(i for i, row in enumerate(rows) if row.aggregateid == since)
    return [dict(row.headers) for row in rows[begin:] if row.aggregatetype.endswith(".dlq")]
