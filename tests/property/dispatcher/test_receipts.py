"""Whatever bytes outsiders send, a receipt is read or refused, and never breaks anything."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chassis.message import InvalidMessage
from services.dispatcher.adapters.receipts import echoed, inbox_id, read_receipt, readable
from services.dispatcher.domain.values import UnitCode

if TYPE_CHECKING:
    from services.dispatcher.domain.commands import UnitCommand

UNIT = UnitCode("scjgj")

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80)
json_values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3))
actions = ["accept", "return", "requestSupplement", "requestExtension", "reportProgress", "resolve"]
names = st.sampled_from(["receiptId", "receipt_id", "ticketId", "epoch", *actions])
near_receipts = st.dictionaries(names | st.text(max_size=8), json_values, max_size=6)


def outcome(data: bytes) -> UnitCommand | InvalidMessage:
    try:
        return read_receipt(UNIT, data)
    except InvalidMessage as error:
        return error


def read_or_refused(data: bytes) -> None:
    read = outcome(data)
    if isinstance(read, InvalidMessage):
        assert read.reason in {"UNREADABLE", "INVALID_FIELD"}
        assert read.detail
        return
    assert (read.unit, bool(read.ticket_id)) == (UNIT, True)
    assert not [value for value in asdict(read).values() if "\x00" in str(value)], "PostgreSQL could not store this"


@given(st.binary(max_size=300))
@example(b"")
@example(b"null")
@example(b"\xef\xbb\xbf{}")
@example(b'{"ticketId": "\\ud800", "epoch": 1, "accept": {}}')
@example(b'{"ticketId": "a", "ticketId": "b", "epoch": 1, "accept": {}}')
@example(b'{"ticketId": "a", "epoch": 1e400, "accept": {}}')
@example(b'{"ticketId": "a", "epoch": NaN, "accept": {}}')
@example(b"[" * 100_000)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    read_or_refused(data)


@given(near_receipts)
def test_anything_like_a_receipt_is_read_or_refused(body: dict[str, object]) -> None:
    read_or_refused(json.dumps(body).encode())


@given(st.binary(max_size=300) | near_receipts.map(lambda body: json.dumps(body).encode()))
def test_the_inbox_id_is_the_units_own_short_and_storable(data: bytes) -> None:
    first, second = inbox_id(UNIT, data), inbox_id(UnitCode("czj"), data)

    assert first.startswith("scjgj:")
    assert first != second
    assert first == inbox_id(UNIT, data)
    assert len(first) <= 200
    assert first.isprintable()


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=64).filter(str.isprintable), st.text(max_size=20))
def test_the_same_receipt_id_is_the_same_receipt_whatever_else_it_says(receipt_id: str, note: str) -> None:
    one = json.dumps({"receiptId": receipt_id, "ticketId": "a"}).encode()
    other = json.dumps({"receipt_id": receipt_id, "note": note}).encode()

    assert inbox_id(UNIT, one) == inbox_id(UNIT, other) == f"scjgj:{receipt_id}"
    assert readable(one, "receiptId") == receipt_id


@given(st.binary(max_size=300) | near_receipts.map(lambda body: json.dumps(body).encode()))
@example(b'{"receiptId": ' + b"[" * 100_000)
@example(b'{"receiptId": "\\ud800"}')
@example(b'{"receiptId": 1' + b"0" * 5000 + b"}")
def test_what_is_told_of_an_id_is_short_and_printable(data: bytes) -> None:
    told = echoed(data, "receiptId", "receipt_id")

    assert len(told) <= 64
    assert told == "" or told.isprintable()


@given(
    receipt_id=st.text(alphabet="abc-0123456789号案件", min_size=1, max_size=64),
    note=st.text(alphabet='已联系企业 abc{}"\\', max_size=20),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "gbk", "gb18030", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]),
    lost=st.integers(0, 3),
)
def test_an_id_in_front_is_told_in_any_encoding_and_of_what_is_cut_off(receipt_id: str, note: str, encoding: str, lost: int) -> None:
    body = {"receiptId": receipt_id, "reportProgress": {"note": note}, "ticketId": "t"}
    text = json.dumps(body, ensure_ascii=False)
    data = text[: len(text) - lost].encode(encoding)

    told = echoed(data, "receiptId", "receipt_id")

    assert told == receipt_id


@given(st.integers(1, 30))
def test_an_id_in_front_is_told_of_bytes_that_are_cut_off_within_a_character(lost: int) -> None:
    data = json.dumps({"receiptId": "九龙坡-1", "reportProgress": {"note": "已联系企业已到现场"}}, ensure_ascii=False).encode()

    cut = data[:-lost]

    assert echoed(cut, "receiptId") == "九龙坡-1"
    assert isinstance(outcome(cut), InvalidMessage)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("{'receiptId': '九-1', 'ticketId': 't'}", "is no JSON: "),
        ('{receiptId: "九-1"}', "is no JSON: "),
        ('[{"receiptId": "九-1", "ticketId": "t", "epoch": 1, "accept": {}}]', "is no JSON object"),
        (json.dumps('{"receiptId": "九-1", "ticketId": "t", "epoch": 1, "accept": {}}'), "is no JSON object"),
    ],
    ids=["single quotes", "no quotes", "in a list", "written twice"],
)
def test_an_id_is_told_of_what_other_programs_take_for_json(data: str, said: str) -> None:
    told = echoed(data.encode(), "receiptId", "receipt_id")

    assert told == "九-1"
    refused = outcome(data.encode())
    assert isinstance(refused, InvalidMessage)
    assert said in refused.detail
