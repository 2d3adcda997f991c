"""Messages survive the way over Kafka, and no record breaks the reading side."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from chassis.dead_letter import dead_letter
from chassis.message import InvalidMessage, OutMessage, read_record
from tests.unit.chassis.builders import ARecord

NOW = datetime(2026, 11, 23, tzinfo=UTC)
words = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
records = st.builds(
    ARecord,
    value=st.none() | st.binary(max_size=30),
    key=st.none() | st.binary(max_size=10),
    headers=st.lists(
        st.tuples(
            st.sampled_from(["ce_id", "ce_time", "ce_type", "traceparent"]) | st.text(max_size=5),
            st.none() | st.binary(max_size=20) | st.sampled_from([b"2026-11-23T01:00:00Z", b"0001-01-01T00:00:00+14:00"]),
        ),
        max_size=5,
    ),
    timestamp=st.integers(min_value=-(2**63), max_value=2**63 - 1),
)


@given(words, words, words, st.binary(max_size=50), st.datetimes(min_value=datetime(1900, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_message_arrives_as_it_was_sent(message_id: str, key: str, kind: str, data: bytes, time: datetime) -> None:
    sent = OutMessage(id=message_id, topic="t", key=key, type=kind, subject=key, time=time, data=data, traceparent=None)

    got = read_record(ARecord(data, key=key.encode(), headers=[(name, value.encode()) for name, value in sent.headers("/s")]))

    assert (got.id, got.key, got.type, got.subject, got.time, got.data) == (message_id, key, kind, key, time, data)


@given(records)
def test_a_record_is_read_or_refused_and_nothing_else(record: ARecord) -> None:
    try:
        message = read_record(record)
    except InvalidMessage:
        return

    texts = [message.id, message.key, message.type, message.subject, message.source, message.content_type]
    assert not any("\x00" in text for text in texts)
    assert message.time.tzinfo is not None


@given(records)
def test_every_record_can_be_buried(record: ARecord) -> None:
    letter = dead_letter(record, consumer="c", reason="R", detail="d", now=NOW)

    texts = [letter.key, *(text for header in letter.headers("/s") for text in header)]
    assert not any("\x00" in text for text in texts)
    assert all(text.encode() is not None for text in texts)
    assert letter.data == (record.value or b"")
