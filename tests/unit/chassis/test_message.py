"""Messages on topics: CloudEvents in binary mode, out and in."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest

from chassis import trace
from chassis.message import JSON, PROTOBUF, InMessage, InvalidMessage, OutMessage, json_message, new_id, proto_message, read_record
from paidan.intake.v1 import ticket_pb2
from tests.unit.chassis.builders import ARecord

NOW = datetime(2026, 11, 23, 1, 2, 3, 456789, UTC)
CONTENT = ticket_pb2.TicketChange(ticket_id="t-1", version=7, note="你好")


def carried(message: OutMessage, *, source: str = "/paidan/probe") -> InMessage:
    """Send a message through Kafka's form and read it again."""
    headers = [(name, value.encode()) for name, value in message.headers(source)]
    return read_record(ARecord(message.data, key=message.key.encode(), headers=headers, topic=message.topic, offset=5, partition=2))


def test_a_message_arrives_as_it_was_sent() -> None:
    with trace.continue_from("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"):
        sent = proto_message("topic", "t-1", CONTENT, time=NOW)

    got = carried(sent)

    assert (got.id, got.topic, got.key, got.type, got.source) == (sent.id, "topic", "t-1", "paidan.intake.v1.TicketChange", "/paidan/probe")
    assert (got.subject, got.time, got.content_type, got.traceparent) == ("t-1", NOW, PROTOBUF, sent.traceparent)
    assert ticket_pb2.TicketChange.FromString(got.data) == CONTENT
    assert got.position == "topic/2/5"
    assert got.record_time == datetime(2026, 11, 23, 1, 0, tzinfo=UTC)


def test_json_is_canonical_protobuf_json() -> None:
    sent = json_message("topic", "t-1", CONTENT, time=NOW)

    assert carried(sent).content_type == JSON
    assert sent.data.decode() == '{"ticketId": "t-1", "version": "7", "note": "你好"}'


def test_a_message_carries_the_trace_in_which_it_was_made() -> None:
    with trace.continue_from(None):
        inside, current = proto_message("topic", "k", CONTENT, time=NOW), trace.current()
    outside = proto_message("topic", "k", CONTENT, time=NOW)

    assert inside.traceparent == current is not None
    assert outside.traceparent is None
    assert "traceparent" not in dict(outside.headers("/s"))


def test_a_time_of_another_zone_goes_out_in_utc() -> None:
    shanghai = NOW.astimezone(timezone(timedelta(hours=8)))

    headers = dict(proto_message("topic", "k", CONTENT, time=shanghai).headers("/s"))

    assert headers["ce_time"] == "2026-11-23T01:02:03.456789+00:00"


def test_the_same_content_has_the_same_bytes() -> None:
    assert proto_message("t", "k", CONTENT, time=NOW).data == proto_message("t", "k", CONTENT, time=NOW).data


def test_an_id_may_be_given_and_else_is_its_own() -> None:
    assert proto_message("t", "k", CONTENT, time=NOW, message_id="mine").id == "mine"
    assert json_message("t", "k", CONTENT, time=NOW).id != json_message("t", "k", CONTENT, time=NOW).id


def test_ids_are_uuids_whose_order_is_that_of_their_making() -> None:
    ids = [new_id() for _ in range(200)]

    assert {uuid.UUID(each).version for each in ids} == {7}
    assert len(set(ids)) == 200
    assert sorted(ids) == ids


def test_verbatim_headers_stand_instead_of_all_others() -> None:
    kept = (("ce_id", "other"), ("ce_id", "twice"))
    message = OutMessage(id="1", topic="t", key="k", type="x", subject="k", time=NOW, data=b"", verbatim_headers=kept)

    assert message.headers("/s") == list(kept)


def test_a_record_without_headers_is_a_message_with_empty_attributes_and_the_records_time() -> None:
    got = read_record(ARecord(b"v", key=None))

    assert (got.id, got.type, got.source, got.subject, got.content_type, got.key, got.traceparent) == ("", "", "", "", "", "", None)
    assert got.time == got.record_time


def test_of_headers_of_one_name_the_last_counts() -> None:
    assert read_record(ARecord(b"v", headers=[("ce_id", b"1"), ("ce_id", b"2")])).id == "2"


def test_a_time_without_zone_is_utc() -> None:
    assert read_record(ARecord(b"v", headers=[("ce_time", b"2026-11-23T01:02:03.456789")])).time == NOW


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (ARecord(None), "NO_VALUE"),
        (ARecord(b"v", key=b"\xff"), "UNDECODABLE"),
        (ARecord(b"v", key=b"a\x00"), "UNDECODABLE"),
        (ARecord(b"v", headers=[("x", b"\xff")]), "UNDECODABLE"),
        (ARecord(b"v", headers=[("ce_id", b"\x00")]), "UNDECODABLE"),
        (ARecord(b"v", headers=[("ce_time", b"")]), "UNDECODABLE"),
        (ARecord(b"v", headers=[("ce_time", b"tomorrow")]), "UNDECODABLE"),
        (ARecord(b"v", timestamp=2**62), "UNDECODABLE"),
        (ARecord(b"v", timestamp=-(2**62)), "UNDECODABLE"),
    ],
)
def test_a_record_that_cannot_be_read_says_why(record: ARecord, reason: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        read_record(record)

    assert caught.value.reason == reason
    assert caught.value.detail
