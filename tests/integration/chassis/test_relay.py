"""The relay when brokers, topics or partitions fail: other messages are published, and the rest follows after recovery."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from sqlalchemy import text

from chassis.producer import Producer
from chassis.publisher import DEADLINE, BrokersAway, Rejected, TopicUnavailable
from tests.integration.chassis.conftest import Topics, client_leaks_sockets, values
from tests.integration.chassis.test_outbox import message, of_key, relay_of, running
from tests.support.brokers import TwoBrokers, two_brokers
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import timedelta

    from chassis.publisher import OutRecord
    from chassis.relay import Relay
    from tests.integration.chassis.conftest import Probe

log = structlog.get_logger()

BAD, GOOD = "dispatch.bad.v1", "dispatch.good.v1"


@dataclass
class Brokers:
    """A publisher that accepts every record except those with a configured error."""

    fails: Callable[[str, str], Exception | None] = lambda _topic, _key: None
    partitions: Callable[[str, str], str] = lambda topic, _key: topic
    taken: list[tuple[str, str, str]] = field(default_factory=list)
    sent: list[list[tuple[str, str]]] = field(default_factory=list)

    def partition_of(self, topic: str, key: str) -> str:
        return self.partitions(topic, key)

    def send(self, records: Sequence[OutRecord], *, within: timedelta = DEADLINE) -> list[Exception | None]:
        assert within <= DEADLINE
        self.sent.append([(topic, key) for topic, key, _, _ in records])
        outcomes = [self.fails(topic, key) for topic, key, _, _ in records]
        self.taken += [
            (topic, key, value.decode()) for (topic, key, value, _), error in zip(records, outcomes, strict=True) if error is None
        ]
        return outcomes

    def bodies(self, topic: str) -> list[str]:
        return [body for its_topic, _, body in self.taken if its_topic == topic]


def no_leader(*topics: str) -> Callable[[str, str], Exception | None]:
    return lambda topic, _key: TopicUnavailable(topic, "LeaderNotAvailable") if topic in topics else None


class Rounds:
    """Runs a relay round by round, on a connection of the test's own."""

    def __init__(self, probe: Probe, relay: Relay) -> None:
        self._conn = probe.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        self._relay = relay

    def run(self, most: int = 1) -> None:
        for _ in range(most):
            if self._relay.publish_batch(self._conn) == 0:
                return

    def until(self, done: Callable[[], bool], *, within: float = 10) -> None:
        end = time.monotonic() + within
        while not done():
            assert time.monotonic() < end, f"not within {within} s"
            if self._relay.publish_batch(self._conn) == 0:
                time.sleep(0.02)

    def close(self) -> None:
        self._conn.close()


@pytest.fixture
def rounds_of(probe: Probe) -> Iterator[Callable[[Brokers], Rounds]]:
    opened: list[Rounds] = []

    def make(brokers: Brokers, **options: Any) -> Rounds:
        opened.append(Rounds(probe, relay_of(probe, brokers, **options)))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


@pytest.mark.parametrize("waiting", [1, 600])
def test_rows_of_a_topic_that_takes_no_writes_keep_nobody_elses_from_going_out(
    probe: Probe, rounds_of: Callable[..., Rounds], waiting: int
) -> None:
    brokers = Brokers(no_leader(BAD))
    probe.publish(*(message(BAD, f"bad{i}", f"{i}") for i in range(waiting)))
    probe.publish(message(GOOD, "good", "1"))
    rounds = rounds_of(brokers)

    began = time.monotonic()
    rounds.until(lambda: brokers.bodies(GOOD) == ["1"], within=5)
    assert time.monotonic() - began < 2
    for n in range(2, 8):
        probe.publish(message(GOOD, "good", f"{n}"))
        rounds.run()
    assert brokers.bodies(GOOD) == [str(n) for n in range(1, 8)]
    assert probe.count("paidan_topic_backoff", topic=BAD) == 1
    assert probe.count("paidan_publish_failures_total", topic=BAD, error="LeaderNotAvailable") >= 1

    brokers.fails = no_leader()
    rounds.until(lambda: not probe.waiting(), within=10)
    assert sorted(brokers.bodies(BAD)) == sorted(str(i) for i in range(waiting))
    assert probe.count("paidan_topic_backoff", topic=BAD) == 0


def test_a_topic_in_backoff_is_probed_by_one_record_and_less_and_less_often(probe: Probe, rounds_of: Callable[..., Rounds]) -> None:
    brokers = Brokers(no_leader(BAD))
    probe.publish(*(message(BAD, f"bad{i}", f"{i}") for i in range(30)))
    rounds = rounds_of(brokers)
    rounds.run()
    brokers.sent.clear()

    end = time.monotonic() + 3
    rounds.until(lambda: time.monotonic() > end, within=4)

    assert 2 <= len(brokers.sent) <= 4, "pauses of 0.25, 0.5, 1 and 2 s"
    assert all(len(sent) == 1 for sent in brokers.sent)


def test_a_hundred_thousand_waiting_rows_do_not_make_a_reading_slower(probe: Probe, rounds_of: Callable[..., Rounds]) -> None:
    """They stand in front, half of them on the good topic behind an order of their key that cannot go."""
    with probe.admin.begin() as conn:
        for topic, kind in ((BAD, "probe.Order"), (GOOD, "probe.News")):
            conn.execute(
                text(f"""
                    INSERT INTO {probe.outbox.table.fullname} (id, aggregatetype, aggregateid, type, payload, headers, create_time)
                    SELECT :kind || n, :topic, 'bad' || n, :kind, 'x', '[]', now() FROM generate_series(1, 50000) AS n
                """),
                {"topic": topic, "kind": kind},
            )
        conn.execute(text(f"ANALYZE {probe.outbox.table.fullname}"))
    brokers = Brokers(no_leader(BAD))
    rounds = rounds_of(brokers)
    probe.publish(message(GOOD, "good", "0"))

    began = time.monotonic()
    rounds.until(lambda: len(brokers.bodies(GOOD)) == 1, within=30)
    parked = time.monotonic() - began
    took = []
    for n in range(1, 11):
        probe.publish(message(GOOD, "good", f"{n}"))
        began = time.monotonic()
        rounds.run()
        took.append(time.monotonic() - began)

    assert brokers.bodies(GOOD) == [str(n) for n in range(11)]
    assert parked < 10
    log.info("measured", parked_seconds=round(parked, 2), readings_seconds=[round(each, 3) for each in sorted(took)])
    assert sorted(took)[5] < 0.2, took


def test_the_same_news_for_other_units_go_out_though_one_units_topic_is_in_backoff(probe: Probe, rounds_of: Callable[..., Rounds]) -> None:
    brokers = Brokers(no_leader(BAD))
    rounds = rounds_of(brokers)
    probe.publish(message(BAD, "first", "1"))
    rounds.run(3)

    probe.publish(
        message(BAD, "t", "order to the lead", type="probe.Order"),
        message(GOOD, "t", "order to the helper", type="probe.Order"),
        message("news.v1", "t", "ordered", type="probe.Ordered"),
        message("news.v1", "u", "another ticket", type="probe.Ordered"),
    )
    rounds.run(3)
    assert brokers.taken == [(GOOD, "t", "order to the helper"), ("news.v1", "u", "another ticket")]

    brokers.fails = no_leader()
    rounds.until(lambda: not probe.waiting())
    assert of_key(brokers.taken, "t") == ["order to the helper", "order to the lead", "ordered"]


def test_one_partition_in_trouble_holds_back_its_keys_and_not_its_topic(probe: Probe, rounds_of: Callable[..., Rounds]) -> None:
    def ill(key: str) -> bool:
        return key.endswith(("0", "1", "2"))

    brokers = Brokers(lambda topic, key: TopicUnavailable(topic, "NotAcknowledged") if topic == BAD and ill(key) else None)
    rounds = rounds_of(brokers)
    probe.publish(*(message(BAD, f"k{i}", f"{i}") for i in range(600)))
    well = sum(not ill(f"k{i}") for i in range(600))

    began = time.monotonic()
    rounds.until(lambda: len(brokers.bodies(BAD)) == well, within=10)
    assert time.monotonic() - began < 5
    probe.publish(message(BAD, "k9", "later"), message(BAD, "k0", "later, ill"))
    rounds.until(lambda: "later" in brokers.bodies(BAD), within=10)

    brokers.fails = lambda _topic, _key: None
    rounds.until(lambda: not probe.waiting(), within=10)
    assert of_key(brokers.taken, "k0") == ["0", "later, ill"]
    assert sorted(brokers.bodies(BAD)) == sorted([*(str(i) for i in range(600)), "later", "later, ill"])


def test_a_topic_of_which_only_an_ill_partition_was_tried_is_used_again_by_rows_of_others(
    probe: Probe, rounds_of: Callable[..., Rounds]
) -> None:
    brokers = Brokers(lambda topic, key: TopicUnavailable(topic, "NotAcknowledged") if key.startswith("ill") else None)
    rounds = rounds_of(brokers)
    probe.publish(*(message(BAD, f"ill{i}", f"{i}") for i in range(100)))
    rounds.run()
    assert probe.count("paidan_topic_backoff", topic=BAD) == 1

    probe.publish(*(message(BAD, f"well{i}", f"well {i}") for i in range(3)))
    rounds.until(lambda: len(brokers.bodies(BAD)) == 3, within=5)

    assert sorted(brokers.bodies(BAD)) == ["well 0", "well 1", "well 2"]


def test_an_ill_partition_with_more_rows_than_a_reading_takes_does_not_starve_the_others(
    probe: Probe, rounds_of: Callable[..., Rounds]
) -> None:
    """A send without any acknowledgement takes the real producer 2 s, one with some of them 1 s."""

    def partition_of(topic: str, key: str) -> str:
        return f"{topic}/0" if key.startswith("ill") else f"{topic}/{1 + int(key[-1]) % 5}"

    def cost(sent: Sequence[tuple[str, str]]) -> float:
        ill = sum(key.startswith("ill") for _, key in sent)
        return 0.0 if not ill else 2.0 if ill == len(sent) else 1.0

    brokers = Brokers(lambda topic, key: TopicUnavailable(topic, "NotAcknowledged") if key.startswith("ill") else None, partition_of)
    rounds = rounds_of(brokers, batch=100)
    probe.publish(*(message(BAD, f"ill{i}", f"{i}") for i in range(600)))
    for _ in range(20):
        rounds.run()
    before, began = len(brokers.sent), time.monotonic()

    probe.publish(*(message(BAD, f"well{i}", f"well {i}") for i in range(50)))
    rounds.until(lambda: len(brokers.bodies(BAD)) == 50, within=30)

    took = time.monotonic() - began + sum(cost(sent) for sent in brokers.sent[before:])
    log.info("measured", seconds=round(took, 1), sends=len(brokers.sent) - before)
    assert took < 10
    assert probe.count("paidan_topic_backoff", topic=BAD) == 1

    brokers.fails = lambda _topic, _key: None
    rounds.until(lambda: not probe.waiting(), within=10)
    assert probe.count("paidan_topic_backoff", topic=BAD) == 0


def test_rows_that_are_large_are_read_a_bounded_number_of_bytes_at_once(probe: Probe, rounds_of: Callable[..., Rounds]) -> None:
    sizes: list[int] = []

    class Measuring(Brokers):
        def send(self, records: Sequence[OutRecord], *, within: timedelta = DEADLINE) -> list[Exception | None]:
            sizes.append(sum(len(value) for _, _, value, _ in records))
            return super().send(records, within=within)

    brokers = Measuring()
    rounds = rounds_of(brokers)
    large = "x" * 900 * 1024
    for n in range(0, 60, 6):
        probe.publish(*(message(GOOD, f"k{i % 30}", f"{i} {large}") for i in range(n, n + 6)))

    rounds.until(lambda: len(brokers.taken) == 60, within=30)

    assert max(sizes) <= 9 * 1024 * 1024
    for key in range(30):
        assert [int(body.split()[0]) for body in of_key(brokers.taken, f"k{key}")] == [key, key + 30]


def test_every_failure_backs_off_its_own_key(probe: Probe, rounds_of: Callable[..., Rounds]) -> None:
    brokers = Brokers(lambda _topic, key: TopicUnavailable(GOOD, "NotAcknowledged") if key == "ill" else None)
    rounds = rounds_of(brokers)
    probe.publish(message(GOOD, "ill", "1"), message(GOOD, "well", "1"), message("news.v1", "ill", "2", type="probe.After"))
    rounds.run()
    tries = sum(("dispatch.good.v1", "ill") in sent for sent in brokers.sent)

    for n in range(5):
        probe.publish(message(GOOD, "well", f"{n}"))
        rounds.run()

    assert tries == 1
    assert sum((GOOD, "ill") in sent for sent in brokers.sent) <= 2, "it waits 0.25 s"
    assert [row.aggregateid for row in probe.waiting()] == ["ill", "ill"]
    assert probe.waiting()[0].attempts >= 1


def test_while_the_brokers_are_away_one_row_a_round_is_tried_and_none_is_marked(probe: Probe, rounds_of: Callable[..., Rounds]) -> None:
    brokers = Brokers(lambda topic, _key: BrokersAway(topic))
    rounds = rounds_of(brokers)
    probe.publish(*(message(GOOD, f"k{i}", f"{i}") for i in range(100)))

    for _ in range(5):
        rounds.run()
    assert [len(sent) for sent in brokers.sent] == [100, 1, 1, 1, 1]
    assert {(row.attempts, row.retry_time) for row in probe.waiting()} == {(0, None)}

    brokers.fails = lambda _topic, _key: None
    rounds.run(3)
    assert probe.waiting() == []


def test_brokers_that_go_away_while_every_topic_is_in_backoff_are_found_again(probe: Probe, rounds_of: Callable[..., Rounds]) -> None:
    brokers = Brokers(no_leader(BAD))
    rounds = rounds_of(brokers)
    probe.publish(*(message(BAD, f"bad{i}", f"{i}") for i in range(5)))
    rounds.run(2)

    brokers.fails = lambda topic, _key: BrokersAway(topic)
    sent = len(brokers.sent)
    rounds.until(lambda: len(brokers.sent) >= sent + 3, within=5)
    brokers.fails = no_leader()
    rounds.until(lambda: not probe.waiting(), within=5)

    assert len(brokers.bodies(BAD)) == 5


def test_rows_that_wait_go_out_under_the_next_leader_too(probe: Probe, rounds_of: Callable[..., Rounds]) -> None:
    brokers = Brokers(no_leader(BAD))
    probe.publish(*(message(BAD, f"bad{i}", f"{i}") for i in range(30)))
    probe.publish(*(message(GOOD, f"bad{i}", f"after {i}", type="probe.After") for i in range(30)))
    rounds_of(brokers).run(5)
    assert brokers.taken == []

    brokers.fails = no_leader()
    rounds_of(brokers).until(lambda: not probe.waiting())

    assert len(brokers.taken) == 60
    assert all(of_key(brokers.taken, f"bad{i}") == [f"{i}", f"after {i}"] for i in range(30))


def test_acknowledged_rows_that_could_not_be_deleted_are_not_sent_again(probe: Probe) -> None:
    """A database that turned read-only takes no DELETE; its switch-over lasts longer than a few rounds."""
    brokers = Brokers()
    probe.publish(message(GOOD, "k", "0"))
    role = f"paidan_{probe.schema}"

    with running(relay_of(probe, brokers)):
        eventually(lambda: brokers.bodies(GOOD) == ["0"], "first message", within=20)
        with probe.admin.begin() as conn:
            conn.execute(text(f"REVOKE DELETE ON {probe.outbox.table.fullname} FROM {role}"))
            conn.execute(text(f"GRANT ALL ON {probe.outbox.table.fullname} TO {role}"))
            conn.execute(
                text(f"""
                    CREATE FUNCTION {probe.schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN RAISE EXCEPTION 'read-only' USING ERRCODE = '25006'; END $$
                """),
            )
            conn.execute(
                text(
                    f"CREATE TRIGGER refuse BEFORE DELETE ON {probe.outbox.table.fullname} EXECUTE FUNCTION {probe.schema}.refuse()",
                ),
            )
        probe.publish(*(message(GOOD, "k", f"{n}") for n in (1, 2)))
        eventually(lambda: "2" in brokers.bodies(GOOD), "messages", within=20)
        time.sleep(2.5)
        with probe.admin.begin() as conn:
            conn.execute(text(f"DROP TRIGGER refuse ON {probe.outbox.table.fullname}"))
        eventually(lambda: not probe.waiting(), "empty outbox", within=10)

    assert brokers.bodies(GOOD) == ["0", "1", "2"]


def test_a_rejection_does_not_back_off_its_topic(probe: Probe, rounds_of: Callable[..., Rounds]) -> None:
    brokers = Brokers(lambda _topic, key: Rejected("too large") if key == "large" else None)
    rounds = rounds_of(brokers)
    probe.publish(message(GOOD, "large", "x"))
    rounds.run()

    probe.publish(message(GOOD, "k", "1"))
    rounds.run()

    assert brokers.bodies(GOOD) == ["1"]
    assert probe.count("paidan_topic_backoff", topic=GOOD) == 0


# On real brokers


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoBrokers]:
    with two_brokers(tmp_path_factory.mktemp("cluster")) as opened:
        yield opened


@client_leaks_sockets
@pytest.mark.parametrize("waiting", [1, 650])
def test_with_a_topics_only_broker_dead_everyone_elses_messages_go_out_and_its_own_follow(
    probe: Probe, cluster: TwoBrokers, waiting: int
) -> None:
    bad, good = f"bad.{waiting}.v1", f"good.{waiting}.v1"
    cluster.second.start()
    cluster.make_topics({bad: [2], good: [1]})
    topics = Topics(cluster.bootstrap)
    producer = Producer(topics.options, client_id="probe")
    keys = [f"k{i}" for i in range(max(1, waiting // 2))]
    latencies: list[float] = []

    def good_goes_out() -> None:
        probe.publish(message(good, "good", f"{len(latencies)}"))
        began = time.monotonic()
        eventually(lambda: all(row.aggregatetype == bad for row in probe.waiting()), "message of the good topic", within=10)
        latencies.append(time.monotonic() - began)

    with running(relay_of(probe, producer)):
        probe.publish(message(bad, "first", "first"))
        good_goes_out()
        eventually(lambda: not probe.waiting(), "empty outbox", within=20)
        latencies.clear()

        cluster.second.kill()
        probe.publish(*(message(bad, keys[i % len(keys)], f"{i}") for i in range(waiting)))
        end = time.monotonic() + 8
        while time.monotonic() < end:
            good_goes_out()
            time.sleep(0.2)
        assert len(probe.waiting()) == waiting

        cluster.second.start()
        began = time.monotonic()
        eventually(lambda: not probe.waiting(), lambda: f"empty outbox, {len(probe.waiting())} wait", within=20)
        drained = time.monotonic() - began
    producer.close()

    log.info(
        "measured", waiting=waiting, others_seconds=[round(each, 2) for each in sorted(latencies)[-5:]], drained_seconds=round(drained, 2)
    )
    assert max(latencies) < 5
    assert drained < 10
    arrived = [(record.topic, record.key.decode(), record.value.decode()) for record in topics.read(bad)]
    for i, key in enumerate(keys):
        assert of_key(arrived, key) == [str(n) for n in range(i, waiting, len(keys))]


def _threads_of(client_id: str) -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith(f"{client_id}-")]


@client_leaks_sockets
def test_what_was_given_up_is_not_sent_later_by_the_old_client(cluster: TwoBrokers) -> None:
    topic = f"given-up.{time.monotonic_ns()}"
    cluster.second.start()
    cluster.make_topics({topic: [2]})
    topics = Topics(cluster.bootstrap)
    producer = Producer(topics.options, client_id="giving-up")
    eventually(lambda: producer.send([(topic, "k", b"before", [])]) == [None], "acknowledgement", within=20)

    cluster.second.kill()
    began = time.monotonic()
    outcomes = producer.send([(topic, "k", b"given up", [])] * 20)
    took = time.monotonic() - began
    eventually(lambda: not _threads_of("giving-up"), "end of the old sender", within=6)
    cluster.second.start()
    eventually(lambda: producer.send([(topic, "k", b"after", [])]) == [None], "acknowledgement", within=20)
    time.sleep(1)
    producer.close()

    assert all(isinstance(outcome, TopicUnavailable) for outcome in outcomes)
    assert took < 5
    assert "given up" not in values(topics.read(topic))
