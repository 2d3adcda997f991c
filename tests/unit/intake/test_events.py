"""What intake publishes, and that no event has room for a contact."""

from __future__ import annotations

from datetime import UTC

import pytest

from paidan.intake.v1 import events_pb2, ticket_pb2
from services.intake.adapters.events import TOPIC, encode
from services.intake.domain.events import (
    Event,
    TicketClosed,
    TicketRated,
    TicketReopened,
    TicketSubmitted,
    TicketSupplemented,
    TicketWithdrawn,
)
from services.intake.domain.types import Channel, Solved
from tests.unit.intake.builders import HOUR, NOW, rating, ticket

TICKET = ticket(confidential=True, channel=Channel.HOTLINE)
KEY = TICKET.ticket_id

EVENTS: list[tuple[Event, type]] = [
    (TicketSubmitted(TICKET), events_pb2.TicketSubmitted),
    (TicketSupplemented(ticket_id=KEY, text="合同", attachment_refs=("a",), time=NOW), events_pb2.TicketSupplemented),
    (TicketWithdrawn(ticket_id=KEY, reason="不用了", time=NOW), events_pb2.TicketWithdrawn),
    (TicketRated(ticket_id=KEY, rating=rating(Solved.NO, 2)), events_pb2.TicketRated),
    (TicketReopened(ticket_id=KEY, reason="又坏了", reopen_count=2, time=NOW), events_pb2.TicketReopened),
    (TicketClosed(ticket_id=KEY, time=NOW), events_pb2.TicketClosed),
]


@pytest.mark.parametrize(("event", "kind"), EVENTS, ids=lambda value: type(value).__name__ if isinstance(value, tuple) else "")
def test_an_event_goes_out_under_its_tickets_key_with_the_time_of_what_happened(event: Event, kind: type) -> None:
    message = encode(event)

    assert (message.topic, message.key, message.subject, message.time) == (TOPIC, KEY, KEY, NOW)
    assert (message.type, message.content_type) == (kind.DESCRIPTOR.full_name, "application/protobuf")
    assert kind.FromString(message.data).ticket_id == KEY


def test_every_event_of_the_contract_is_among_them() -> None:
    assert {kind.DESCRIPTOR.name for _, kind in EVENTS} == set(events_pb2.DESCRIPTOR.message_types_by_name)


def test_a_submission_tells_all_that_the_others_need() -> None:
    told = events_pb2.TicketSubmitted.FromString(encode(TicketSubmitted(TICKET)).data)

    assert (told.number, told.portal, told.text) == (TICKET.number, TICKET.portal, TICKET.text)
    assert (told.enterprise.uscc, told.enterprise.name) == (TICKET.enterprise.uscc, TICKET.enterprise.name)
    assert (told.enterprise_district_code, told.district_code) == ("500107", "500107")
    assert (told.channel, told.confidential) == (ticket_pb2.CHANNEL_HOTLINE, True)
    assert told.submit_time.ToDatetime(UTC) == NOW


def test_a_rating_tells_view_score_and_words() -> None:
    told = events_pb2.TicketRated.FromString(encode(TicketRated(ticket_id=KEY, rating=rating(Solved.NO, 2, NOW + HOUR))).data).rating

    assert (told.solved, told.score, told.comment, told.rate_time.ToDatetime(UTC)) == (ticket_pb2.SOLVED_NO, 2, "办得快", NOW + HOUR)


def test_two_messages_of_one_event_have_two_ids() -> None:
    assert encode(EVENTS[0][0]).id != encode(EVENTS[0][0]).id


def test_no_event_has_room_for_a_contact() -> None:
    reached: set[str] = set()

    def walk(message: object) -> None:
        for field in message.fields:
            reached.add(f"{message.name}.{field.name}")
            if field.message_type is not None and field.message_type.full_name.startswith("paidan."):
                walk(field.message_type)

    for message in events_pb2.DESCRIPTOR.message_types_by_name.values():
        walk(message)

    assert "TicketSubmitted.text" in reached
    assert not {name for name in reached if "contact" in name.lower() or "phone" in name}
