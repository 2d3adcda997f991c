"""Dead letters keep what they can, and too many of them stop the process."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from kafka.record.default_records import DefaultRecordBatchBuilder

from chassis.dead_letter import KEPT, DeadLetterLimit, DeadLetterLimitReached, dead_letter, dead_letter_topic
from chassis.message import Unreadable
from tests.unit.chassis.builders import ARecord

NOW = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)


def letter_of(record: ARecord, *, detail: str = "why") -> tuple[str, bytes, list[tuple[str, str]]]:
    letter = dead_letter(record, consumer="probe", reason="UNDECODABLE", detail=detail, now=NOW)
    assert letter.topic == dead_letter_topic(record.topic) == "in.dlq"
    return letter.key, letter.data, letter.headers("/ignored")


def test_a_dead_letter_keeps_key_value_and_headers_and_adds_what_was_wrong() -> None:
    record = ARecord(b"\x00\xff", key=b"k-1", headers=[("ce_id", b"1"), ("ce_id", b"2"), ("x", "é".encode())], partition=3, offset=99)

    key, value, headers = letter_of(record)

    assert (key, value) == ("in/3/99", b"\x00\xff")
    assert headers == [
        ("ce_id", "1"),
        ("ce_id", "2"),
        ("x", "é"),
        ("dlq_reason", "UNDECODABLE"),
        ("dlq_detail", "why"),
        ("dlq_topic", "in"),
        ("dlq_partition", "3"),
        ("dlq_offset", "99"),
        ("dlq_key", "k-1"),
        ("dlq_value_bytes", "2"),
        ("dlq_consumer", "probe"),
        ("dlq_time", "2026-11-23T01:00:00+00:00"),
    ]


def test_what_is_no_text_is_written_out() -> None:
    _, _, headers = letter_of(ARecord(b"", key=b"\xff\x00k", headers=[("x", b"\xc3\x28\x00"), ("a\x00b", b"c")]), detail="d\x00")

    assert dict(headers)["dlq_key"] == "\\xff\\x00k"
    assert headers[:2] == [("x", "\\xc3(\\x00"), ("a\\x00b", "c")]
    assert dict(headers)["dlq_detail"] == "d\\x00"
    assert not any("\x00" in text for header in headers for text in header)


def test_what_is_absent_is_empty() -> None:
    _, value, headers = letter_of(ARecord(None, key=None, headers=[("x", None)]))

    assert (dict(headers)["dlq_key"], value, headers[0]) == ("", b"", ("x", ""))


MOST = 1024 * 1024
"""What producers and brokers take by default."""


def test_the_longest_value_that_is_kept_whole_can_be_redriven_and_a_longer_one_says_what_was_cut() -> None:
    whole, longer = (letter_of(ARecord(b"v" * size, key=b"k")) for size in (KEPT.value, KEPT.value + 1))

    assert (len(whole[1]), dict(whole[2])["dlq_value_bytes"]) == (KEPT.value, str(KEPT.value))
    assert "dlq_truncated" not in dict(whole[2])
    assert longer[1] == b"v" * KEPT.part_of_value
    assert (dict(longer[2])["dlq_value_bytes"], dict(longer[2])["dlq_truncated"]) == (str(KEPT.value + 1), "value")


@pytest.mark.parametrize(
    ("record", "cut"),
    [
        (ARecord(b"v" * 5_000_000), "value"),
        (ARecord(b"v", key=b"\xff" * 3_000_000), "key"),
        (ARecord(b"v", key="号".encode() * 1000), "key"),
        (ARecord(b"v", headers=[("x", b"\xff" * 3_000_000)]), "headers"),
        (ARecord(b"v", headers=[("名" * 500_000, b"x")]), "headers"),
        (ARecord(b"v", headers=[("x", b"")] * 100_000), "headers"),
        (ARecord(b"v", headers=[(f"h{i}", b"y" * 4000) for i in range(60)]), "headers"),
        (ARecord(b"v" * 2_000_000, key=b"k" * 2_000_000, headers=[(f"h{i}", b"\x00" * 4096) for i in range(5000)]), "value,key,headers"),
    ],
    ids=["value", "key of bytes", "key of characters", "header", "name of a header", "number of headers", "all headers", "everything"],
)
def test_whatever_is_oversized_is_cut_so_that_the_letter_can_be_published_uncompressed(record: ARecord, cut: str) -> None:
    key, value, headers = letter_of(record, detail="d" * 2_000_000)

    raw = [(name, text.encode()) for name, text in headers]
    assert DefaultRecordBatchBuilder.estimate_size_in_bytes(key.encode(), value, raw) < MOST
    assert dict(headers)["dlq_truncated"] == cut
    assert key == f"in/0/{record.offset}"


def test_a_letter_with_all_its_parts_at_their_bounds_can_be_published_uncompressed() -> None:
    record = ARecord(
        b"v" * KEPT.value, key=b"k" * KEPT.key, headers=[("n" * 256, b"h" * 4096)] * 11 + [("n", b"h")] * 53, topic="t" * 245, offset=2**63
    )

    letter = dead_letter(record, consumer="c" * 249, reason="R" * 100, detail="d" * KEPT.detail, now=NOW)

    raw = [(name, text.encode()) for name, text in letter.headers("/s")]
    assert "dlq_truncated" not in dict(letter.headers("/s"))
    assert DefaultRecordBatchBuilder.estimate_size_in_bytes(letter.key.encode(), letter.data, raw) < MOST


def test_headers_of_an_earlier_burial_do_not_speak_for_this_one() -> None:
    _, _, headers = letter_of(ARecord(b"v", headers=[("dlq_truncated", b"value"), ("dlq_key", b"another"), ("x", b"y")]))

    assert headers[0] == ("x", "y")
    assert "dlq_truncated" not in dict(headers)
    assert [text for name, text in headers if name == "dlq_key"] == ["k"]


def test_the_letter_of_what_cannot_be_read_cannot_be_redriven() -> None:
    value = Unreadable(b"\x28\xb5", reason="CORRUPT_RECORD", detail="offset 3: the batch is not valid zstd", size=70_000)

    _, data, headers = letter_of(ARecord(value))

    assert (data, type(data)) == (b"\x28\xb5", bytes)
    assert (dict(headers)["dlq_value_bytes"], dict(headers)["dlq_truncated"]) == ("70000", "value")


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
