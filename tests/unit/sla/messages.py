"""Messages as intake and the dispatcher send them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from chassis.instant import to_timestamp
from chassis.message import InMessage
from paidan.dispatcher.v1 import dispatch_pb2
from paidan.dispatcher.v1 import events_pb2 as dispatcher
from paidan.intake.v1 import events_pb2 as intake
from services.sla.adapters.events import DISPATCHER_TOPIC, INTAKE_TOPIC

if TYPE_CHECKING:
    from datetime import datetime

    from google.protobuf.message import Message

_offsets = itertools.count()


def received(payload: Message, at: datetime, *, message_id: str | None = None) -> InMessage:
    """Return a payload as it is received, its record written at `at`."""
    topic = INTAKE_TOPIC if payload.DESCRIPTOR.full_name.startswith("paidan.intake") else DISPATCHER_TOPIC
    offset = next(_offsets)
    ticket_id = str(getattr(payload, "ticket_id", ""))
    return InMessage(
        id=message_id or f"m-{offset}",
        topic=topic,
        partition=0,
        offset=offset,
        key=ticket_id,
        type=payload.DESCRIPTOR.full_name,
        source="/paidan/test",
        subject=ticket_id,
        time=at,
        record_time=at,
        data=payload.SerializeToString(),
        content_type="application/protobuf",
        traceparent=f"00-{offset:032x}-00000000000000aa-01" if offset else None,
    )


def submitted(ticket_id: str, at: datetime, *, portal: str = "portal-a") -> intake.TicketSubmitted:
    return intake.TicketSubmitted(ticket_id=ticket_id, portal=portal, submit_time=to_timestamp(at))


def reopened(ticket_id: str, at: datetime, count: int = 1) -> intake.TicketReopened:
    return intake.TicketReopened(ticket_id=ticket_id, reopen_count=count, reopen_time=to_timestamp(at))


def supplemented(ticket_id: str, at: datetime) -> intake.TicketSupplemented:
    return intake.TicketSupplemented(ticket_id=ticket_id, supplement_time=to_timestamp(at))


def withdrawn(ticket_id: str, at: datetime) -> intake.TicketWithdrawn:
    return intake.TicketWithdrawn(ticket_id=ticket_id, withdraw_time=to_timestamp(at))


def dispatched(ticket_id: str, at: datetime, *, epoch: int = 1, unit: str = "zfcxjw") -> dispatcher.TicketDispatched:
    return dispatcher.TicketDispatched(
        ticket_id=ticket_id,
        epoch=epoch,
        lead_unit=unit,
        method=dispatch_pb2.DISPATCH_METHOD_AUTO,
        dispatch_time=to_timestamp(at),
    )


def returned(ticket_id: str, at: datetime, *, epoch: int = 1) -> dispatcher.TicketReturned:
    return dispatcher.TicketReturned(ticket_id=ticket_id, epoch=epoch, return_time=to_timestamp(at))


def supplement_requested(ticket_id: str, at: datetime, *, epoch: int = 1) -> dispatcher.SupplementRequested:
    return dispatcher.SupplementRequested(ticket_id=ticket_id, epoch=epoch, question="?", request_time=to_timestamp(at))


def extension_decided(ticket_id: str, at: datetime, *, workdays: int, granted: bool = True) -> dispatcher.ExtensionDecided:
    return dispatcher.ExtensionDecided(ticket_id=ticket_id, epoch=1, granted=granted, workdays=workdays, decide_time=to_timestamp(at))


def resolved(ticket_id: str, at: datetime, *, epoch: int = 1) -> dispatcher.TicketResolved:
    return dispatcher.TicketResolved(ticket_id=ticket_id, epoch=epoch, resolution="done", resolve_time=to_timestamp(at))


def declined(ticket_id: str, at: datetime) -> dispatcher.TicketDeclined:
    return dispatcher.TicketDeclined(ticket_id=ticket_id, reason="not ours", decline_time=to_timestamp(at))
