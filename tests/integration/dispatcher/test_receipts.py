"""What units send on their own topics: read by the topic's unit, once, and answered when it is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from chassis.dead_letter import DeadLetterLimitReached
from chassis.message import Unreadable
from services.dispatcher.adapters.events import receipts_topic
from services.dispatcher.domain.values import State
from tests.integration.dispatcher.harness import (
    FakeRecord,
    accepting,
    again,
    classified,
    new_ticket,
    receipt,
    resolving,
    returning,
    submitted,
)
from tests.unit.dispatcher.builders import INDUSTRY, MARKET, YUZHONG

if TYPE_CHECKING:
    from services.dispatcher.domain.values import TicketId
    from tests.integration.dispatcher.harness import Harness


@pytest.fixture(autouse=True)
def empty_outbox(harness: Harness) -> None:
    with harness.engine.begin() as conn:
        conn.exec_driver_sql("DELETE FROM dispatcher.outbox")


@pytest.fixture
def dispatched(harness: Harness, ticket_id: TicketId) -> TicketId:
    """A ticket in the hands of the industry department, with the team of Yuzhong helping."""
    harness.feed(submitted(ticket_id), classified(ticket_id))
    harness.sent(ticket_id)
    return ticket_id


def test_a_receipt_that_comes_twice_has_its_effect_once(harness: Harness, dispatched: TicketId) -> None:
    record = accepting(INDUSTRY, dispatched)

    harness.feed(record, again(record))
    harness.feed(again(record))

    assert harness.kinds(dispatched) == ["TicketAccepted"]
    assert harness.count("paidan_messages_consumed_total", topic=receipts_topic(INDUSTRY), outcome="repeated") == 2


def test_a_receipt_without_an_id_is_recognised_by_its_bytes(harness: Harness, dispatched: TicketId) -> None:
    progress = {"ticketId": dispatched, "epoch": 1, "reportProgress": {"note": "已联系企业"}}

    harness.feed(receipt(INDUSTRY, progress))
    harness.feed(receipt(INDUSTRY, progress))
    harness.feed(receipt(INDUSTRY, {**progress, "reportProgress": {"note": "已到现场"}}))

    assert harness.kinds(dispatched) == ["ProgressReported", "ProgressReported"]


def test_the_same_id_of_two_units_means_two_receipts(harness: Harness, dispatched: TicketId) -> None:
    harness.feed(accepting(YUZHONG, dispatched, receiptId="shared"), accepting(INDUSTRY, dispatched, receiptId="shared"))

    assert harness.kinds(dispatched) == [f"{YUZHONG}:refused", "TicketAccepted"]


def test_headers_of_a_receipt_do_not_say_who_sent_it_or_whether_it_was_seen(harness: Harness, dispatched: TicketId) -> None:
    first = accepting(INDUSTRY, dispatched)
    first.headers = [("ce_id", b"forged"), ("ce_source", b"/paidan/dispatcher"), ("ce_type", b"paidan.intake.v1.TicketWithdrawn")]
    second = receipt(INDUSTRY, {"receiptId": "other", "ticketId": dispatched, "epoch": 1, "reportProgress": {"note": "进行中"}})
    second.headers = first.headers

    harness.feed(first)
    harness.feed(second)

    assert harness.kinds(dispatched) == ["TicketAccepted", "ProgressReported"]


def test_the_unit_of_a_receipt_is_its_topics_whatever_the_body_says(harness: Harness, dispatched: TicketId) -> None:
    harness.feed(receipt(MARKET, {"ticketId": dispatched, "epoch": 1, "unit": INDUSTRY, "accept": {}}))

    [refused] = harness.sent(dispatched)
    assert refused.topic == f"dispatch.{MARKET}.v1"
    assert refused.body.refused.reason == "ERROR_REASON_DISPATCH_NOT_FOUND"
    assert refused.body.number == ""
    assert harness.seen(dispatched).dispatch.state is State.DISPATCHED


@pytest.mark.parametrize(
    ("unit", "epoch", "reason"),
    [
        (MARKET, 1, "DISPATCH_NOT_FOUND"),
        (YUZHONG, 1, "NOT_LEAD_UNIT"),
        (INDUSTRY, 2, "STALE_EPOCH"),
    ],
)
def test_a_receipt_that_does_not_fit_is_refused_and_no_dead_letter(
    harness: Harness, dispatched: TicketId, unit: str, epoch: int, reason: str
) -> None:
    harness.feed(accepting(unit, dispatched, epoch, receiptId="r-77"))

    [refused] = harness.sent(dispatched)
    assert refused.kind == f"{unit}:refused"
    assert (refused.body.refused.receipt_id, refused.body.refused.reason) == ("r-77", f"ERROR_REASON_{reason}")
    assert refused.body.refused.message
    assert refused.body.ticket_id == dispatched
    assert harness.count("paidan_dispatcher_receipts_refused_total", reason=reason) == 1


def test_a_receipt_for_a_ticket_that_nobody_knows_is_refused(harness: Harness) -> None:
    unknown = new_ticket()

    harness.feed(resolving(INDUSTRY, unknown))

    assert harness.kinds(unknown) == [f"{INDUSTRY}:refused"]
    assert harness.rows("SELECT 1 FROM dispatcher.dispatch WHERE ticket_id = :id", id=unknown) == []


def test_a_unit_that_lost_the_ticket_is_told_the_active_epoch(harness: Harness, dispatched: TicketId) -> None:
    harness.feed(returning(INDUSTRY, dispatched, to=MARKET))
    harness.sent(dispatched)

    harness.feed(resolving(INDUSTRY, dispatched))

    [refused] = harness.sent(dispatched)
    assert refused.body.refused.reason == "ERROR_REASON_STALE_EPOCH"
    assert "2" in refused.body.refused.message


def test_names_of_the_proto_are_read_as_well_as_those_of_json_and_unknown_fields_are_ignored(
    harness: Harness, dispatched: TicketId
) -> None:
    body = {
        "receipt_id": "snake",
        "ticket_id": dispatched,
        "epoch": "1",
        "return": {"reason": 1, "suggested_unit": MARKET},
        "handledBy": "张科长",
    }

    harness.feed(receipt(INDUSTRY, body))

    assert f"{MARKET}:order" in harness.kinds(dispatched)


LONG = "长" * 1001
UNREADABLE = {
    "no JSON": b"\xff\xfe not json",
    "no object": b"[1, 2]",
    "no ticket": b'{"receiptId": "r-1", "epoch": 1, "accept": {}}',
    "no action": b'{"receiptId": "r-1", "ticketId": "t-1", "epoch": 1}',
    "wrong type": b'{"receiptId": "r-1", "ticketId": "t-1", "epoch": "first", "accept": {}}',
    "two actions": b'{"ticketId": "t-1", "epoch": 1, "accept": {}, "resolve": {"resolution": "x"}}',
    "half a surrogate": b'{"ticketId": "t-1", "epoch": 1, "reportProgress": {"note": "\\ud800"}}',
    "too deep": b"[" * 5000,
    "empty": b"",
}
INVALID = {
    "long note": {"ticketId": "t-1", "epoch": 1, "reportProgress": {"note": LONG}},
    "long receipt id": {"receiptId": "r" * 65, "ticketId": "t-1", "epoch": 1, "accept": {}},
    "long ticket id": {"ticketId": "t" * 65, "epoch": 1, "accept": {}},
    "NUL in a note": {"ticketId": "t-1", "epoch": 1, "reportProgress": {"note": "a\x00b"}},
    "NUL in the ticket id": {"ticketId": "t\x001", "epoch": 1, "accept": {}},
    "no epoch": {"ticketId": "t-1", "accept": {}},
    "no reason": {"ticketId": "t-1", "epoch": 1, "return": {}},
    "unknown reason": {"ticketId": "t-1", "epoch": 1, "return": {"reason": 99}},
    "empty resolution": {"ticketId": "t-1", "epoch": 1, "resolve": {"resolution": "  "}},
    "too many attachments": {"ticketId": "t-1", "epoch": 1, "resolve": {"resolution": "好", "attachmentRefs": ["a"] * 21}},
    "too many workdays": {"ticketId": "t-1", "epoch": 1, "requestExtension": {"workdays": 16, "reason": "等"}},
}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        *((data, "UNREADABLE") for data in UNREADABLE.values()),
        *((json.dumps(body).encode(), "INVALID_FIELD") for body in INVALID.values()),
    ],
    ids=[*UNREADABLE, *INVALID],
)
def test_a_receipt_that_cannot_be_read_is_a_dead_letter_and_its_sender_hears_of_it(harness: Harness, data: bytes, reason: str) -> None:
    with harness.engine.begin() as conn:
        conn.exec_driver_sql("DELETE FROM dispatcher.outbox")

    harness.feed(receipt(MARKET, data))

    rows = harness.rows("SELECT aggregateid FROM dispatcher.outbox ORDER BY seq")
    sent = [each for key in dict.fromkeys(row.aggregateid for row in rows) for each in harness.sent(key)]
    assert sorted(each.kind for each in sent) == ["dlq", f"{MARKET}:refused"]
    dead = next(each for each in sent if each.kind == "dlq")
    refused = next(each for each in sent if each.kind != "dlq")
    assert (dead.topic, dead.body, dead.headers["dlq_reason"]) == (f"receipts.{MARKET}.v1.dlq", data, reason)
    assert refused.body.refused.reason == f"ERROR_REASON_{reason}"
    assert harness.count("paidan_dispatcher_receipts_refused_total", reason=reason) == 1
    assert harness.count("paidan_messages_consumed_total", topic=receipts_topic(MARKET), outcome="dead_lettered") == 1


def test_what_the_broker_delivers_without_value_or_with_broken_headers_is_answered_too(harness: Harness) -> None:
    with harness.engine.begin() as conn:
        conn.exec_driver_sql("DELETE FROM dispatcher.outbox")

    harness.feed(
        FakeRecord(receipts_topic(MARKET), None),
        FakeRecord(receipts_topic(MARKET), b"{}", headers=[("note", b"\xff")]),
    )

    topics = [row.aggregatetype for row in harness.rows("SELECT aggregatetype FROM dispatcher.outbox")]
    assert sorted(topics) == [f"dispatch.{MARKET}.v1"] * 2 + [f"receipts.{MARKET}.v1.dlq"] * 2


def test_a_record_that_could_not_be_read_is_answered_too_with_the_offsets_that_it_stands_for(
    harness: Harness, dispatched: TicketId
) -> None:
    with harness.engine.begin() as conn:
        conn.exec_driver_sql("DELETE FROM dispatcher.outbox")
    packed = Unreadable(b"\x28\xb5", reason="TOO_LARGE_UNPACKED", detail="offsets 7 to 9: the batch unpacks to more than 9 bytes", size=2)

    harness.feed(FakeRecord(receipts_topic(MARKET), packed, partition=0, offset=9), accepting(INDUSTRY, dispatched))

    (dead,) = harness.sent(f"receipts.{MARKET}.v1/0/9")
    rows = harness.rows("SELECT aggregateid FROM dispatcher.outbox WHERE aggregatetype = :topic", topic=f"dispatch.{MARKET}.v1")
    (refused,) = [each for row in rows for each in harness.sent(row.aggregateid)]
    assert (dead.kind, dead.body, dead.headers["dlq_reason"]) == ("dlq", b"\x28\xb5", "TOO_LARGE_UNPACKED")
    assert (refused.kind, refused.body.refused.reason) == (f"{MARKET}:refused", "ERROR_REASON_UNREADABLE")
    assert "offsets 7 to 9" in refused.body.refused.message
    assert harness.kinds(dispatched) == ["TicketAccepted"]


def test_garbage_does_not_spoil_its_batch_and_every_copy_is_accounted_for(harness: Harness, dispatched: TicketId) -> None:
    garbage = receipt(MARKET, b"garbage")

    harness.feed(garbage, accepting(INDUSTRY, dispatched), again(garbage))
    harness.feed(again(garbage))

    assert harness.kinds(dispatched) == ["TicketAccepted"]
    assert harness.count("paidan_messages_consumed_total", topic=receipts_topic(MARKET), outcome="dead_lettered") == 3


def test_a_receipt_that_is_sent_again_corrected_under_the_same_id_has_its_effect(harness: Harness, dispatched: TicketId) -> None:
    wrong = receipt(INDUSTRY, {"receiptId": "r-9", "ticketId": dispatched, "epoch": 1, "reportProgress": {"note": ""}})
    right = receipt(INDUSTRY, {"receiptId": "r-9", "ticketId": dispatched, "epoch": 1, "reportProgress": {"note": "已联系"}})

    harness.feed(wrong, right)

    assert [each.kind for each in harness.sent(dispatched) if each.kind != "dlq"] == [f"{INDUSTRY}:refused", "ProgressReported"]


def id_for(ticket_id: TicketId) -> str:
    """An id that no other test uses."""
    return f"r-{ticket_id}"


def progress(ticket_id: TicketId, note: str, receipt_id: str = "", **changed: object) -> dict[str, object]:
    return {"receiptId": receipt_id or id_for(ticket_id), "ticketId": ticket_id, "epoch": 1, "reportProgress": {"note": note}, **changed}


def refusals(harness: Harness, ticket_id: TicketId) -> list[tuple[str, str]]:
    """Id and reason of each refusal about a ticket."""
    sent = [each.body.refused for each in harness.sent(ticket_id) if each.kind.endswith(":refused")]
    return [(refused.receipt_id, refused.reason.removeprefix("ERROR_REASON_")) for refused in sent]


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in two batches"])
def test_other_content_under_an_id_that_had_its_effect_is_refused(harness: Harness, dispatched: TicketId, *, together: bool) -> None:
    first, restarted = receipt(INDUSTRY, progress(dispatched, "已联系")), receipt(INDUSTRY, progress(dispatched, "已到现场"))

    for batch in ((first, restarted),) if together else ((first,), (restarted,)):
        harness.feed(*batch)

    sent = harness.sent(dispatched)
    assert [each.kind for each in sent] == ["ProgressReported", f"{INDUSTRY}:refused"]
    assert (sent[1].body.refused.receipt_id, sent[1].body.refused.reason) == (id_for(dispatched), "ERROR_REASON_REQUEST_ID_REUSED")
    assert harness.count("paidan_dispatcher_receipts_refused_total", reason="REQUEST_ID_REUSED") == 1


def test_a_corrected_form_of_a_refused_receipt_under_its_id_is_refused(harness: Harness, dispatched: TicketId) -> None:
    harness.feed(receipt(INDUSTRY, progress(dispatched, "已联系", epoch=7)))
    harness.feed(receipt(INDUSTRY, progress(dispatched, "已联系")))

    assert refusals(harness, dispatched) == [(id_for(dispatched), "STALE_EPOCH"), (id_for(dispatched), "REQUEST_ID_REUSED")]


def test_a_receipt_with_reused_id_that_is_read_again_is_answered_once_and_one_that_is_written_again_once_more(
    harness: Harness, dispatched: TicketId
) -> None:
    harness.feed(receipt(INDUSTRY, progress(dispatched, "已联系")))
    reused = receipt(INDUSTRY, progress(dispatched, "已到现场"))

    harness.feed(reused)
    harness.feed(reused)
    harness.feed(again(reused))

    assert refusals(harness, dispatched) == [(id_for(dispatched), "REQUEST_ID_REUSED")] * 2


def test_what_cannot_be_read_under_an_id_that_had_its_effect_is_refused_and_leaves_the_id(harness: Harness, dispatched: TicketId) -> None:
    harness.feed(receipt(INDUSTRY, progress(dispatched, "已联系")))

    harness.feed(receipt(INDUSTRY, progress(dispatched, "")))
    harness.feed(receipt(INDUSTRY, progress(dispatched, "已到现场")))

    sent = [each.kind for each in harness.sent(dispatched)]
    assert sent == ["ProgressReported", f"{INDUSTRY}:refused", f"{INDUSTRY}:refused"]


def test_the_same_content_written_in_another_way_is_a_repetition(harness: Harness, dispatched: TicketId) -> None:
    action = {"reason": "RETURN_REASON_DUPLICATE", "note": "重复"}
    harness.feed(receipt(INDUSTRY, {"receiptId": id_for(dispatched), "ticketId": dispatched, "epoch": 1, "return": action}))
    harness.sent(dispatched)

    harness.feed(
        receipt(
            INDUSTRY, {"epoch": "1", "return": {"note": "重复", "reason": 3}, "ticket_id": dispatched, "receipt_id": id_for(dispatched)}
        ),
        receipt(
            INDUSTRY,
            json.dumps(
                {"receiptId": id_for(dispatched), "ticketId": dispatched, "epoch": 1.0, "return": {**action, "suggestedUnit": ""}}, indent=4
            ).encode(),
        ),
        receipt(INDUSTRY, {"receiptId": id_for(dispatched), "ticketId": dispatched, "epoch": 1, "return": action, "handledBy": "张科长"}),
    )

    assert harness.sent(dispatched) == []


def test_an_id_that_the_release_before_took_is_a_repetition_whatever_it_says(harness: Harness, dispatched: TicketId) -> None:
    with harness.engine.begin() as conn:
        conn.exec_driver_sql(f"INSERT INTO dispatcher.inbox (message_id) VALUES ('{INDUSTRY}:{dispatched}')")

    harness.feed(receipt(INDUSTRY, progress(dispatched, "已联系", receipt_id=dispatched)))

    assert harness.sent(dispatched) == []


def test_a_byte_order_mark_is_ignored(harness: Harness, dispatched: TicketId) -> None:
    body = progress(dispatched, "已联系")

    harness.feed(receipt(INDUSTRY, b"\xef\xbb\xbf" + json.dumps(body).encode()))
    harness.feed(receipt(INDUSTRY, body))

    assert harness.kinds(dispatched) == ["ProgressReported"]


@pytest.mark.parametrize(
    ("encoding", "name"),
    [("gbk", "GBK"), ("gb18030", "GBK"), ("utf-16", "UTF-16"), ("utf-16-le", "UTF-16"), ("utf-16-be", "UTF-16"), ("utf-32", "UTF-32")],
)
def test_another_encoding_is_named_and_the_id_is_told_all_the_same(
    harness: Harness, dispatched: TicketId, encoding: str, name: str
) -> None:
    harness.feed(receipt(INDUSTRY, json.dumps(progress(dispatched, "已联系企业"), ensure_ascii=False).encode(encoding)))

    refused = next(each.body.refused for each in harness.sent(dispatched) if each.kind.endswith(":refused"))
    assert (refused.receipt_id, refused.reason) == (id_for(dispatched), "ERROR_REASON_UNREADABLE")
    assert f"not UTF-8, it looks like {name}: write UTF-8" in refused.message


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("12345", "12345"),
        ("1e400", "1e400"),
        ("-0.50", "-0.50"),
        ("9" * 5000, "9" * 63 + "…"),
        ("true", "true"),
        ('{"no": 7}', '{"no": "7"}'),
        (f'"{"r" * 65}"', "r" * 63 + "…"),
        ('"r\\u0000\\u200b9"', "r\ufffd\ufffd9"),
        ('"r-9", "receiptId": "r-9"', "r-9"),
        ('"r-9", "receipt_id": "r-8"', "r-9"),
        ('"r-9", "epoch": "first"', "r-9"),
        ('"r-9", "accept": [', "r-9"),
        ('12345, "accept": {', "12345"),
    ],
)
def test_a_refusal_tells_the_id_however_it_was_written(harness: Harness, dispatched: TicketId, written: str, told: str) -> None:
    body = f'{{"ticketId": "{dispatched}", "reportProgress": {{"note": "好"}}, "receiptId": {written}}}'

    harness.feed(receipt(INDUSTRY, body.encode()))

    rows = harness.rows("SELECT payload FROM dispatcher.outbox WHERE aggregatetype = :topic", topic=f"dispatch.{INDUSTRY}.v1")
    assert [json.loads(bytes(row.payload))["refused"]["receiptId"] for row in rows] == [told]


def test_an_unknown_suggestion_is_refused_and_the_ticket_stays(harness: Harness, dispatched: TicketId) -> None:
    harness.feed(returning(INDUSTRY, dispatched, to="500199"))

    [refused] = harness.sent(dispatched)
    assert refused.body.refused.reason == "ERROR_REASON_UNKNOWN_UNIT"
    assert "500199" in refused.body.refused.message
    assert harness.seen(dispatched).dispatch.state is State.DISPATCHED


@pytest.mark.parametrize(("abolished", "successor"), [("500105", "500171"), ("500112", "500171")])
def test_the_team_of_an_abolished_district_means_its_successor(
    harness: Harness, dispatched: TicketId, abolished: str, successor: str
) -> None:
    harness.feed(returning(INDUSTRY, dispatched, to=abolished))

    assert f"{successor}:order" in harness.kinds(dispatched)


def test_hundreds_of_garbage_receipts_do_not_stop_the_dispatcher(harness: Harness, dispatched: TicketId) -> None:
    harness.feed(*(receipt(MARKET, b"garbage %d" % number) for number in range(300)), accepting(INDUSTRY, dispatched))

    assert harness.kinds(dispatched) == ["TicketAccepted"]


def test_garbage_on_our_own_topics_stalls_instead_of_emptying_them(harness: Harness) -> None:
    broken = [FakeRecord("intake.tickets.v1", b"\xff", headers=[("ce_type", b"paidan.intake.v1.TicketSubmitted")]) for _ in range(21)]

    with pytest.raises(DeadLetterLimitReached):
        harness.feed(*broken)
