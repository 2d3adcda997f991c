"""Consumer and transactional sink on real PostgreSQL and Kafka: each message has its effect once, and no message stops the others."""

from __future__ import annotations

import itertools
import threading
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import OperationalError

from chassis import inbox as inboxes
from chassis.clock import SystemClock
from chassis.consumer import Consumer
from chassis.dead_letter import DeadLetterLimit, DeadLetterLimitReached, dead_letter_topic
from chassis.message import InMessage, InvalidMessage, RetryLater, new_id
from chassis.producer import Producer
from chassis.relay import Relay
from chassis.sink import TransactionalSink
from tests.integration.chassis.conftest import Probe, Topics, values
from tests.support.waiting import eventually
from tests.unit.chassis.builders import ARecord, with_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from chassis.sql import SqlUnitOfWork


class Handler:
    """Writes each message's body as its effect; a body that begins with an exclamation mark is trouble."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self.later = True
        self.before: Callable[[SqlUnitOfWork], None] = lambda _uow: None
        self.batches: list[list[str]] = []

    def __call__(self, uow: SqlUnitOfWork, messages: Sequence[InMessage]) -> list[tuple[InMessage, InvalidMessage]]:
        self.batches.append([message.data.decode() for message in messages])
        self.before(uow)
        returned = []
        for message in messages:
            body = message.data.decode()
            if body == "!returned":
                returned.append((message, InvalidMessage("NONSENSE", "it makes no sense")))
                continue
            if body == "!invalid":
                raise InvalidMessage("NONSENSE", "it makes no sense")
            if body == "!bug":
                raise ZeroDivisionError("王小明")
            if body == "!later" and self.later:
                raise RetryLater
            uow.connection.execute(insert(self._probe.effect).values(what=body))
        return returned


@pytest.fixture
def handler(probe: Probe) -> Handler:
    return Handler(probe)


def sink_of(probe: Probe, handler: Handler, **changed: Any) -> TransactionalSink[SqlUnitOfWork]:
    return TransactionalSink(
        probe.open, probe.inbox, handler, **{"consumer": "probe", "clock": SystemClock(), "metrics": probe.metrics, **changed}
    )


def buried(probe: Probe) -> list[dict[str, str]]:
    """Return the headers of the dead letters in the outbox, with their value."""
    return [{**dict(row.headers), "value": bytes(row.payload).decode(errors="replace")} for row in probe.waiting()]


def test_a_batch_has_its_effects_in_order_and_in_one_transaction(probe: Probe, handler: Handler) -> None:
    sink_of(probe, handler).process([with_id(str(i)) for i in range(50)])

    assert probe.effects() == [str(i) for i in range(50)]
    assert len(handler.batches) == 1
    assert probe.claimed() == 50
    assert probe.count("paidan_messages_consumed_total", topic="in", outcome="done") == 50


def test_the_same_id_has_one_effect_within_a_batch_and_over_batches(probe: Probe, handler: Handler) -> None:
    sink = sink_of(probe, handler)

    sink.process([with_id("a", "1"), with_id("a again", "1"), with_id("b", "2")])
    sink.process([with_id("b again", "2"), with_id("c", "3")])

    assert probe.effects() == ["a", "b", "c"]
    assert probe.count("paidan_messages_consumed_total", topic="in", outcome="repeated") == 2


def test_a_message_that_is_of_no_use_leaves_no_trace_but_in_the_count(probe: Probe, handler: Handler) -> None:
    sink = sink_of(probe, handler, relevant=lambda message: message.id != "2")

    sink.process([with_id("a", "1"), with_id("b", "2"), with_id("c", "3")])
    sink.process([with_id("b", "2")])

    assert probe.effects() == ["a", "c"]
    assert probe.claimed() == 2
    assert probe.count("paidan_messages_consumed_total", topic="in", outcome="ignored") == 2
    assert probe.count("paidan_messages_consumed_total", topic="in", outcome="done") == 2


def test_a_message_without_id_is_recognised_by_its_place(probe: Probe, handler: Handler) -> None:
    sink = sink_of(probe, handler)

    for _ in range(2):
        sink.process([ARecord(b"a", offset=5), ARecord(b"b", offset=6)])

    assert probe.effects() == ["a", "b"]


def test_a_service_may_choose_what_a_repetition_is(probe: Probe, handler: Handler) -> None:
    sink = sink_of(probe, handler, message_id=lambda message: message.data.decode())

    sink.process([with_id("a", "1"), with_id("a", "2")])

    assert probe.effects() == ["a"]


@pytest.mark.parametrize("trouble", ["!invalid", "!returned"])
def test_an_invalid_message_becomes_a_dead_letter_and_its_neighbours_are_handled(probe: Probe, handler: Handler, trouble: str) -> None:
    bad = with_id(trouble, "bad", offset=99, key=b"k9", partition=3)

    sink_of(probe, handler).process([with_id("a"), bad, with_id("b")])

    assert probe.effects() == ["a", "b"]
    (row,) = probe.waiting()
    assert (row.aggregatetype, row.aggregateid, row.payload) == (dead_letter_topic("in"), "in/3/99", trouble.encode())
    headers = dict(row.headers)
    assert headers["dlq_key"] == "k9"
    assert {name: headers[name] for name in ("ce_id", "ce_type", "x")} == {"ce_id": "bad", "ce_type": "probe.Told", "x": "y"}
    assert headers["dlq_reason"] == "NONSENSE"
    assert headers["dlq_detail"] == "it makes no sense"
    assert [headers[f"dlq_{name}"] for name in ("topic", "partition", "offset", "consumer")] == ["in", "3", "99", "probe"]
    assert probe.count("paidan_messages_consumed_total", topic="in", outcome="dead_lettered") == 1
    assert probe.count("paidan_messages_consumed_total", topic="in", outcome="done") == 2


def test_a_bug_of_ours_becomes_a_dead_letter_that_tells_its_kind_and_not_its_text(probe: Probe, handler: Handler) -> None:
    sink_of(probe, handler).process([with_id("a"), with_id("!bug"), with_id("b")])

    (letter,) = buried(probe)
    assert probe.effects() == ["a", "b"]
    assert (letter["dlq_reason"], letter["dlq_detail"]) == ("BUG", "ZeroDivisionError")
    assert not any("王小明" in value for value in letter.values())


def test_a_dead_letter_that_is_redriven_under_its_own_id_has_its_effect(probe: Probe, handler: Handler) -> None:
    sink = sink_of(probe, handler)
    for trouble in ("!invalid", "!returned"):
        sink.process([with_id(trouble, f"id of {trouble}"), with_id(f"after {trouble}")])

    sink.process([with_id("mended 1", "id of !invalid"), with_id("mended 2", "id of !returned")])

    assert probe.effects()[-2:] == ["mended 1", "mended 2"]


@pytest.mark.parametrize("trouble", ["!invalid", "!returned", "!bug"])
def test_a_batch_that_is_put_off_again_and_again_buries_its_bad_message_once(probe: Probe, handler: Handler, trouble: str) -> None:
    sink = sink_of(probe, handler, limit=DeadLetterLimit(2, timedelta(hours=1)))
    batch = [with_id("a"), with_id(trouble), with_id("!later"), with_id("b")]
    for _ in range(5):
        with pytest.raises(RetryLater):
            sink.process(batch)

    handler.later = False
    sink.process(batch)
    sink.process(batch)

    assert probe.effects() == ["a", "!later", "b"]
    assert len(buried(probe)) == 1


def test_garbage_is_buried_and_its_neighbours_are_handled(probe: Probe, handler: Handler) -> None:
    garbage = {
        "no value": ARecord(None),
        "key": ARecord(b"v", key=b"\xff\xfe"),
        "header": ARecord(b"v", headers=[("x", b"\xc3\x28"), ("y", b"ok")]),
        "id with NUL": with_id("v", "a\x00b"),
        "key with NUL": ARecord(b"v", key=b"k\x00"),
        "time": ARecord(b"v", headers=[("ce_time", b"yesterday")]),
        "far past": ARecord(b"v", timestamp=-(2**62)),
        "far future": ARecord(b"v", timestamp=2**62),
        "name with NUL": ARecord(b"v", headers=[("a\x00b", b"\xff")]),
    }
    sink = sink_of(probe, handler, limit=DeadLetterLimit(100, timedelta(hours=1)))

    sink.process([with_id("first"), *garbage.values(), with_id("last")])

    assert probe.effects() == ["first", "last"]
    letters = buried(probe)
    assert {name: letter["dlq_reason"] for name, letter in zip(garbage, letters, strict=True)} == {
        **dict.fromkeys(garbage, "UNDECODABLE"),
        "no value": "NO_VALUE",
    }
    assert (letters[2]["x"], letters[2]["y"]) == ("\\xc3(", "ok")
    assert letters[3]["ce_id"] == "a\\x00b"
    assert letters[8]["a\\x00b"] == "\\xff"


def test_headers_without_value_and_names_of_others_are_no_garbage(probe: Probe, handler: Handler) -> None:
    sink_of(probe, handler).process([ARecord(b"a", headers=[("ce_id", None), ("订单", b"1"), ("traceparent", b"nonsense")])])

    assert probe.effects() == ["a"]
    assert probe.waiting() == []


def test_too_many_dead_letters_stall_the_topic_and_nothing_is_lost(probe: Probe, handler: Handler) -> None:
    sink = sink_of(probe, handler, limit=DeadLetterLimit(2, timedelta(hours=1)))

    with pytest.raises(DeadLetterLimitReached):
        sink.process([with_id("a"), *(with_id("!bug") for _ in range(3)), with_id("b")])

    assert probe.effects() == ["a"]
    assert len(buried(probe)) == 2


def test_garbage_of_outsiders_never_stalls_a_topic_but_our_bugs_do(probe: Probe, handler: Handler) -> None:
    sink = sink_of(probe, handler, limit=DeadLetterLimit(1, timedelta(hours=1)), limited=lambda _topic: False)

    sink.process([with_id("!invalid") for _ in range(5)])
    sink.process([ARecord(b"v", key=b"\x00"), ARecord(b"v", timestamp=2**62), with_id("x", "\x00")])
    sink.process([with_id("!bug")])
    with pytest.raises(DeadLetterLimitReached):
        sink.process([with_id("!bug")])

    assert len(buried(probe)) == 9


def test_what_buries_a_message_may_tell_its_sender_in_the_same_transaction(probe: Probe, handler: Handler) -> None:
    def tell(uow: SqlUnitOfWork, record: Any, error: InvalidMessage) -> None:
        uow.connection.execute(insert(probe.effect).values(what=f"told {record.offset} {error.reason}"))

    sink_of(probe, handler, on_dead_letter=tell).process([with_id("!invalid", offset=7), with_id("!returned", offset=8)])

    assert probe.effects() == ["told 7 NONSENSE", "told 8 NONSENSE"]


def test_an_error_of_the_database_leaves_no_trace_and_the_batch_succeeds_later(probe: Probe, handler: Handler) -> None:
    sink = sink_of(probe, handler)
    batch = [with_id("a"), with_id("b")]
    handler.before = lambda uow: _break_connection(probe, uow)
    with pytest.raises(OperationalError):
        sink.process(batch)

    handler.before = lambda _uow: None
    sink.process(batch)

    assert probe.effects() == ["a", "b"]
    assert len(handler.batches) == 2


def test_consumers_that_get_the_same_messages_at_once_give_each_one_effect(probe: Probe) -> None:
    batch = [with_id(str(i)) for i in range(100)]
    sinks = [sink_of(probe, Handler(probe)) for _ in range(4)]
    threads = [threading.Thread(target=sink.process, args=([*batch[i * 25 :], *batch[: i * 25]],)) for i, sink in enumerate(sinks)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert sorted(probe.effects(), key=int) == [str(i) for i in range(100)]


def test_an_inbox_forgets_what_is_old_and_nothing_else(probe: Probe, handler: Handler) -> None:
    sink = sink_of(probe, handler)
    sink.process([with_id("old", "old")])
    with probe.admin.begin() as conn:
        conn.execute(probe.inbox.update().values(receive_time=text("now() - interval '2 days'")))
    sink.process([with_id("young", "young")])
    now, day = SystemClock().now(), timedelta(days=1)

    with probe.engine.begin() as conn:
        forgotten = [inboxes.forget(conn, probe.inbox, now=now, retention=day) for _ in range(2)]
    sink.process([with_id("old again", "old"), with_id("young again", "young")])

    assert forgotten == [1, 0]
    assert probe.effects() == ["old", "young", "old again"]


def test_an_inbox_forgets_at_most_five_thousand_ids_at_a_time(probe: Probe) -> None:
    with probe.admin.begin() as conn:
        conn.execute(
            text(f"INSERT INTO {probe.inbox.fullname} SELECT i::text, now() - interval '2 days' FROM generate_series(1, 5001) AS i")
        )
    now = SystemClock().now()

    with probe.engine.begin() as conn:
        forgotten = [inboxes.forget(conn, probe.inbox, now=now, retention=timedelta(days=1)) for _ in range(3)]

    assert forgotten == [5000, 1, 0]


def test_a_claim_waits_for_another_and_falls_to_whom_the_other_leaves_it(probe: Probe) -> None:
    answers: dict[str, set[str]] = {}

    def second() -> None:
        with probe.engine.begin() as conn:
            answers["second"] = inboxes.claim(conn, probe.inbox, ["1", "2"])

    with probe.engine.connect() as conn:
        answers["first"] = inboxes.claim(conn, probe.inbox, ["2", "3"])
        waiting = threading.Thread(target=second)
        waiting.start()
        eventually(lambda: _waits_for_lock(probe), "a claim that waits", within=20)
        conn.rollback()
    waiting.join(20)

    assert answers == {"first": {"2", "3"}, "second": {"1", "2"}}


@contextmanager
def running(*components: Any) -> Iterator[threading.Event]:
    stop = threading.Event()
    threads = [threading.Thread(target=each.run, args=(stop,)) for each in components]
    for thread in threads:
        thread.start()
    try:
        yield stop
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)


def consumer_of(probe: Probe, topics: Topics, names: Sequence[str], sink: Any, *, group: str, batch: int = 100) -> Consumer:
    return Consumer(
        names,
        sink,
        group=group,
        client_options=topics.options,
        metrics=probe.metrics,
        batch=batch,
        linger=timedelta(milliseconds=50),
        session_timeout=timedelta(seconds=6),
    )


def test_from_topic_to_dead_letter_topic(probe: Probe, topics: Topics, handler: Handler) -> None:
    (topic,) = topics.make("in")
    topics.make_exactly(dead_letter_topic(topic))
    topics.write(
        topic,
        {"key": b"k", "value": b"a", "headers": [("ce_id", b"1")]},
        {"key": b"k", "value": b"!invalid", "headers": [("ce_id", b"2"), ("x", b"\xff")]},
        {"key": b"k", "value": b"!invalid", "headers": [("ce_id", b"3"), ("traceparent", b"t")]},
        {"key": b"k", "value": b"b", "headers": [("ce_id", b"4")]},
        {"key": b"k", "value": b"a", "headers": [("ce_id", b"1")]},
        {"key": b"k", "value": None, "headers": []},
    )
    producer = Producer(topics.options, client_id="probe")
    relay = Relay(probe.engine, probe.outbox, producer, probe.metrics, interval=timedelta(seconds=0.1), pace=timedelta(0), batch=100)
    group = new_id()

    with running(consumer_of(probe, topics, [topic], sink_of(probe, handler), group=group), relay):
        eventually(lambda: len(topics.read(dead_letter_topic(topic))) == 3, "three dead letters", within=30, every=0.3)
        eventually(lambda: topics.committed(group, topic) == 6, "a committed offset", within=20, every=0.3)
    producer.close()

    assert probe.effects() == ["a", "b"]
    letters = [{name: value.decode() for name, value in record.headers} for record in topics.read(dead_letter_topic(topic))]
    assert [letter["dlq_reason"] for letter in letters] == ["UNDECODABLE", "NONSENSE", "NO_VALUE"]
    assert [(letter["dlq_topic"], letter["dlq_offset"]) for letter in letters] == [(topic, "1"), (topic, "2"), (topic, "5")]
    assert letters[1]["traceparent"] == "t"
    assert letters[0]["x"] == "\\xff"
    assert values(topics.read(dead_letter_topic(topic))) == ["!invalid", "!invalid", ""]


class Gbk(str):
    """A header's name that its sender did not write in UTF-8."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:  # type: ignore[override]
        return str.encode(self, "gbk")


def test_a_header_name_that_is_not_utf8_stops_nobody(probe: Probe, topics: Topics, handler: Handler) -> None:
    (topic,) = topics.make("in")
    topics.write(
        topic,
        {"key": b"k", "value": b"before", "headers": [("ce_id", b"1")]},
        {"key": b"k", "value": "中文".encode(), "headers": [("ce_id", b"2"), (Gbk("单位"), b"v"), (Gbk("编号"), b""), ("x", b"y")]},
        {"key": b"k", "value": b"after", "headers": [(Gbk("单位"), b"v"), ("ce_id", b"3")]},
        {"key": b"k", "value": b"after again", "headers": [("ce_id", b"3")]},
    )

    with running(consumer_of(probe, topics, [topic], sink_of(probe, handler), group=new_id())):
        eventually(lambda: len(probe.effects()) == 3, "three effects", within=30)

    assert probe.effects() == ["before", "中文", "after"]


def test_what_is_read_again_from_the_beginning_has_no_second_effect(probe: Probe, topics: Topics, handler: Handler) -> None:
    first, second = topics.make("one", "two")
    for topic in (first, second):
        topics.write(topic, *({"key": b"k", "value": f"{topic}:{i}".encode()} for i in range(30)))

    for expected in (60, 120):
        with running(consumer_of(probe, topics, [first, second], sink_of(probe, handler), group=new_id(), batch=7)):
            eventually(
                lambda expected=expected: _handled(probe, first, second) == expected,
                lambda: f"120, {_handled(probe, first, second)} handled",
                within=30,
            )

    assert sorted(probe.effects()) == sorted(f"{topic}:{i}" for topic in (first, second) for i in range(30))
    assert probe.count("paidan_messages_consumed_total", topic=first, outcome="repeated") == 30
    for topic in (first, second):
        assert [what for what in probe.effects() if what.startswith(topic)] == [f"{topic}:{i}" for i in range(30)]


def test_a_batch_is_put_off_until_the_database_is_well_again(probe: Probe, topics: Topics, handler: Handler) -> None:
    (topic,) = topics.make("in")
    group = new_id()
    tries = itertools.count(1)

    def break_twice(uow: SqlUnitOfWork) -> None:
        if next(tries) <= 2:
            _break_connection(probe, uow)

    handler.before = break_twice
    topics.write(topic, {"key": b"k", "value": b"a"}, {"key": b"k", "value": b"b"})

    with running(consumer_of(probe, topics, [topic], sink_of(probe, handler), group=group)):
        eventually(lambda: probe.effects() == ["a", "b"], "effects", within=30)
        eventually(lambda: topics.committed(group, topic) == 2, "a committed offset", within=20, every=0.3)

    assert probe.count("paidan_consumer_retries_total", error="OperationalError") == 2


def test_a_consumer_that_is_told_to_stop_while_it_waits_commits_nothing(probe: Probe, topics: Topics, handler: Handler) -> None:
    (topic,) = topics.make("in")
    group = new_id()
    topics.write(topic, {"key": b"k", "value": b"!later"})

    with running(consumer_of(probe, topics, [topic], sink_of(probe, handler), group=group)):
        eventually(lambda: probe.count("paidan_consumer_retries_total", error="RetryLater") >= 2, "two tries", within=30)
    uncommitted = topics.committed(group, topic)
    handler.later = False
    with running(consumer_of(probe, topics, [topic], sink_of(probe, handler), group=group)):
        eventually(lambda: probe.effects() == ["!later"], "an effect", within=30)

    assert uncommitted == 0


def test_the_process_ends_at_the_limit_and_the_next_one_begins_where_it_stopped(probe: Probe, topics: Topics, handler: Handler) -> None:
    (topic,) = topics.make("in")
    group = new_id()
    topics.write(topic, *({"key": b"k", "value": body} for body in (b"a", b"!bug", b"!bug", b"b")))
    strict = sink_of(probe, handler, limit=DeadLetterLimit(1, timedelta(hours=1)))
    stop = threading.Event()

    with pytest.raises(DeadLetterLimitReached):
        consumer_of(probe, topics, [topic], strict, group=group).run(stop)
    uncommitted = topics.committed(group, topic)
    with running(consumer_of(probe, topics, [topic], sink_of(probe, handler), group=group)):
        eventually(lambda: topics.committed(group, topic) == 4, "a committed offset", within=30, every=0.3)

    assert uncommitted == 0
    assert probe.effects() == ["a", "b"]
    assert len(buried(probe)) == 2


def test_when_a_consumer_leaves_another_of_its_group_goes_on(probe: Probe, topics: Topics) -> None:
    (topic,) = topics.make("in", partitions=2)
    group = new_id()
    handlers = [Handler(probe), Handler(probe)]
    consumers = [consumer_of(probe, topics, [topic], sink_of(probe, each), group=group) for each in handlers]

    with running(consumers[0]):
        topics.write(topic, *({"key": str(i).encode(), "value": str(i).encode()} for i in range(20)))
        eventually(lambda: len(probe.effects()) == 20, "20 effects", within=30)
        with running(consumers[1]):
            pass
        topics.write(topic, *({"key": str(i).encode(), "value": str(i).encode()} for i in range(20, 40)))
        eventually(lambda: len(probe.effects()) == 40, "40 effects", within=30)

    assert sorted(probe.effects(), key=int) == [str(i) for i in range(40)]


def _break_connection(probe: Probe, uow: SqlUnitOfWork) -> None:
    pid = uow.connection.scalar(text("SELECT pg_backend_pid()"))
    with probe.admin.begin() as conn:
        conn.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})


def _handled(probe: Probe, *topics: str) -> float:
    return sum(
        probe.count("paidan_messages_consumed_total", topic=topic, outcome=outcome) for topic in topics for outcome in ("done", "repeated")
    )


def _waits_for_lock(probe: Probe) -> bool:
    with probe.admin.connect() as conn:
        return bool(
            conn.scalar(
                text("SELECT count(*) FROM pg_stat_activity WHERE application_name = :name AND wait_event_type = 'Lock'"),
                {"name": f"paidan-{probe.schema}"},
            ),
        )
