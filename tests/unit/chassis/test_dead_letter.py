"""Dead letters keep what they can, and too many of them stop the process."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from chassis.dead_letter import DeadLetterLimit, DeadLetterLimitReached, dead_letter, dead_letter_topic
from tests.unit.chassis.builders import ARecord

NOW = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)


def letter_of(record: ARecord, *, detail: str = "why") -> tuple[str, bytes, list[tuple[str, str]]]:
    letter = dead_letter(record, consumer="probe", reason="UNDECODABLE", detail=detail, now=NOW)
    assert letter.topic == dead_letter_topic(record.topic) == "in.dlq"
    return letter.key, letter.data, letter.headers("/ignored")


def test_a_dead_letter_keeps_key_value_and_headers_and_adds_what_was_wrong() -> None:
    record = ARecord(b"\x00\xff", key=b"k-1", headers=[("ce_id", b"1"), ("ce_id", b"2"), ("x", "é".encode())], partition=3, offset=99)

    key, value, headers = letter_of(record)

    assert (key, value) == ("k-1", b"\x00\xff")
    assert headers == [
        ("ce_id", "1"),
        ("ce_id", "2"),
        ("x", "é"),
        ("dlq_reason", "UNDECODABLE"),
        ("dlq_detail", "why"),
        ("dlq_topic", "in"),
        ("dlq_partition", "3"),
        ("dlq_offset", "99"),
        ("dlq_consumer", "probe"),
        ("dlq_time", "2026-11-23T01:00:00+00:00"),
    ]


def test_what_is_no_text_is_written_out() -> None:
    key, _, headers = letter_of(ARecord(b"", key=b"\xff\x00k", headers=[("x", b"\xc3\x28\x00"), ("a\x00b", b"c")]), detail="d\x00")

    assert key == "\\xff\\x00k"
    assert headers[:2] == [("x", "\\xc3(\\x00"), ("a\\x00b", "c")]
    assert dict(headers)["dlq_detail"] == "d\\x00"
    assert not any("\x00" in text for header in headers for text in header)


def test_what_is_absent_is_empty() -> None:
    key, value, headers = letter_of(ARecord(None, key=None, headers=[("x", None)]))

    assert (key, value, headers[0]) == ("", b"", ("x", ""))


class Monotonic:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_the_limit_lets_so_many_pass_in_a_window_and_then_no_more() -> None:
    clock = Monotonic()
    limit = DeadLetterLimit(3, timedelta(seconds=60), monotonic=clock)
    for i in range(3):
        clock.seconds = i
        limit.spend(f"in/0/{i}")

    clock.seconds = 59.9
    with pytest.raises(DeadLetterLimitReached):
        limit.spend("in/0/3")
    clock.seconds = 60
    limit.spend("in/0/3")
    with pytest.raises(DeadLetterLimitReached):
        limit.spend("in/0/4")


def test_the_same_message_again_counts_once() -> None:
    limit = DeadLetterLimit(1, timedelta(seconds=60), monotonic=Monotonic())

    for _ in range(5):
        limit.spend("in/0/1")

    with pytest.raises(DeadLetterLimitReached):
        limit.spend("in/0/2")


def test_a_refused_one_is_not_counted() -> None:
    clock = Monotonic()
    limit = DeadLetterLimit(1, timedelta(seconds=60), monotonic=clock)
    limit.spend("in/0/1")
    clock.seconds = 30
    with pytest.raises(DeadLetterLimitReached):
        limit.spend("in/0/2")

    clock.seconds = 60
    limit.spend("in/0/2")


def test_a_limit_of_none_lets_nothing_pass() -> None:
    with pytest.raises(DeadLetterLimitReached):
        DeadLetterLimit(0, timedelta(seconds=60), monotonic=Monotonic()).spend("in/0/1")
