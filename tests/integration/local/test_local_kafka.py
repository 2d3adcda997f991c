"""The broker: what it acknowledged outlives its death, and what it lacks is said in one line."""

import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic

from deploy.local.errors import InUseError, LocalPartError, MissingToolError
from deploy.local.kafka import LocalKafka
from deploy.local.tools import require_java


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """A broker that these tests may kill."""
    with LocalKafka(tmp_path_factory.mktemp("mortal")) as broker:
        yield broker


def _create_topic(bootstrap: str, name: str) -> None:
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        admin.create_topics([NewTopic(name=name, num_partitions=3, replication_factor=1)])


def _produce(bootstrap: str, topic: str, values: list[bytes]) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    for acknowledgement in [producer.send(topic, value) for value in values]:
        acknowledgement.get(timeout=20)
    producer.close()


def _consume(bootstrap: str, topic: str, count: int) -> list[bytes]:
    consumer = KafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=f"{topic}-readers", auto_offset_reset="earliest")
    values: list[bytes] = []
    for _ in range(40):
        values += [record.value for batch in consumer.poll(timeout_ms=500).values() for record in batch]
        if len(values) >= count:
            break
    consumer.commit(timeout_ms=5_000)
    consumer.close()
    return sorted(values)


def test_acknowledged_records_and_committed_offsets_survive_a_kill_of_the_broker(broker: LocalKafka) -> None:
    address, topic = broker.bootstrap, "survivors"
    before, unread, after = ([b"%s-%03d" % (part, i) for i in range(200)] for part in (b"a", b"b", b"c"))
    _create_topic(address, topic)
    _produce(address, topic, before)
    assert _consume(address, topic, 200) == before
    _produce(address, topic, unread)

    broker.kill()
    assert broker.process.returncode == -signal.SIGKILL
    broker.start()

    assert broker.bootstrap == address
    _produce(address, topic, after)
    assert _consume(address, topic, 400) == unread + after


def test_a_stop_shuts_the_broker_down_in_order_and_it_can_start_again(broker: LocalKafka) -> None:
    broker.stop()

    assert broker.process.returncode == -signal.SIGTERM
    assert "shut down" in broker.process.tail()
    broker.start()
    assert broker.alive


def test_two_brokers_run_side_by_side(kafka: LocalKafka, broker: LocalKafka) -> None:
    _create_topic(kafka.bootstrap, "here-only")

    assert kafka.port != broker.port
    with KafkaAdminClient(bootstrap_servers=broker.bootstrap) as admin:
        assert "here-only" not in admin.list_topics()


def test_a_directory_in_use_is_refused(kafka: LocalKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.local.part._LEFTOVER_PATIENCE", timedelta(0))

    with pytest.raises(InUseError) as caught:
        LocalKafka(kafka.data_dir).start()

    assert caught.value.directory == kafka.data_dir
    assert caught.value.holder == str(os.getpid())


def test_a_broker_that_already_has_the_port_is_not_taken_for_our_own(kafka: LocalKafka, tmp_path: Path) -> None:
    broker = LocalKafka(tmp_path, port=kafka.port)

    with pytest.raises(LocalPartError, match="Address already in use"):
        broker.start()

    assert kafka.alive


def test_a_machine_without_java_gets_one_line_that_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")

    with pytest.raises(MissingToolError) as caught:
        LocalKafka(tmp_path).start()

    assert str(caught.value) == (
        "kafka: needs Java 17 or later, found none; install both of Kafka's tools, e.g. apt-get install default-jre-headless maven"
    )


def test_a_java_that_is_too_old_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))

    with pytest.raises(MissingToolError, match='needs Java 17 or later, found version "11;'):
        require_java()
