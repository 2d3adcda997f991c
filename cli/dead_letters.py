"""`paidan dlq …`: what could not be handled, and sending it again."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from chassis.dead_letter import KEY, PREFIX, SUFFIX, TRUNCATED, dead_letter_topic
from chassis.kafka_records import CONSUMER_OPTIONS
from chassis.message import Unreadable
from chassis.producer import Producer
from chassis.settings import KafkaSettings
from cli.connection import load
from cli.output import CommandError, JsonFlag, console, error_console, errors_shown, print_json

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(no_args_is_help=True, help="死信：列出、查看、重新投递。 Dead letters.")

Topic = Annotated[str, typer.Argument(help="Topic that the message was on, e.g. receipts.ghzrzyj.v1.")]

GROUP = "paidan-redrive"
"""Group whose offsets say up to where dead letters were redriven."""

_IDLE_MILLISECONDS = 1500


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message that could not be handled.

    Attributes:
        topic: Topic that it was on.
        offset: Its place in the dead-letter topic.
        key: Key of the original message.
        headers: All headers, `dlq_*` among them.
    """

    topic: str
    offset: int
    key: str
    value: bytes
    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str:
        """Return a header's value, or nothing."""
        return dict(self.headers).get(name, "")

    @property
    def cut(self) -> str:
        """Names of the parts that were cut, e.g. `value,headers`; empty if none was."""
        return self.header(TRUNCATED)

    def summary(self) -> dict[str, Any]:
        """Return what a list shows."""
        return {
            "topic": self.topic,
            "offset": self.offset,
            "reason": self.header("dlq_reason"),
            "detail": self.header("dlq_detail"),
            "consumer": self.header("dlq_consumer"),
            "time": self.header("dlq_time"),
            "id": self.header("ce_id"),
            "key": self.key,
            "truncated": self.cut,
        }


@app.command("list")
def list_(*, all_: Annotated[bool, typer.Option("--all", help="Also what was redriven.")] = False, as_json: JsonFlag = False) -> None:
    """列出死信。 List dead letters that were not redriven."""
    with errors_shown(), _reader(load().kafka_bootstrap) as consumer:
        letters = _read(consumer, _dead_letter_topics(consumer), from_start=all_)
        if as_json:
            for letter in letters:
                print_json(letter.summary())
            return
        table = Table(box=None, header_style="bold")
        for header in ("topic", "offset", "原因 reason", "说明 detail", "时间 time", "key"):
            table.add_column(header, overflow="fold")
        for letter in letters:
            summary = letter.summary()
            row = (summary[name] for name in ("topic", "offset", "reason", "detail", "time", "key"))
            table.add_row(*(escape(str(value)) for value in row))
        console.print(table if letters else "[dim]没有死信 no dead letters[/]")


@app.command("show")
def show(
    topic: Topic,
    offset: Annotated[int, typer.Argument(min=0, help="Its offset, from `dlq list`.")],
    *,
    as_json: JsonFlag = False,
) -> None:
    """查看一条死信。 Show one with headers and payload."""
    with errors_shown(), _reader(load().kafka_bootstrap) as consumer:
        letter = next((each for each in _read(consumer, [dead_letter_topic(topic)], from_start=True) if each.offset == offset), None)
        if letter is None:
            raise CommandError(f"no dead letter of {topic} at offset {offset}", hint="see `paidan dlq list --all`")
        payload = letter.value.decode(errors="backslashreplace")
        if as_json:
            print_json({**letter.summary(), "headers": dict(letter.headers), "payload": payload})
            return
        headers = "\n".join(f"{name}: {value}" for name, value in letter.headers)
        console.print(Panel(escape(f"{headers}\n\n{payload}"), title=f"{topic} @ {offset}", expand=False))


@app.command("redrive")
def redrive(
    topic: Topic,
    *,
    limit: Annotated[int, typer.Option(min=1, help="Most messages.")] = 1000,
    as_json: JsonFlag = False,
) -> None:
    """重新投递。 Send dead letters to their topic again, oldest first, once each. A message that had its effect already has none again."""
    with errors_shown(), _reader(load().kafka_bootstrap) as consumer:
        letters = _read(consumer, [dead_letter_topic(topic)], from_start=False)[:limit]
        producer = Producer(KafkaSettings(bootstrap=load().kafka_bootstrap).client_options(), client_id=GROUP)
        skipped = [letter for letter in letters if letter.cut]
        try:
            for letter in letters:
                if not letter.cut:
                    _redrive(producer, letter)
                _mark(consumer, letter)
        finally:
            producer.close()
        redriven = len(letters) - len(skipped)
        if as_json:
            left_out = {"truncated": [letter.offset for letter in skipped]} if skipped else {}
            print_json({"topic": topic, "redriven": redriven, **left_out})
        else:
            console.print(f"{topic}: 重新投递 redriven {redriven}")
            for letter in skipped:
                console.print(f"[yellow]{escape(_refusal(letter))}[/]")
        if skipped and not redriven:
            raise CommandError(_refusal(skipped[0]), hint="the sender of the message has to send it again")


def _refusal(letter: DeadLetter) -> str:
    size = letter.header("dlq_value_bytes")
    return f"not redriven, offset {letter.offset}: its {letter.cut} was cut when it was buried (value of {size} bytes)"


def _redrive(producer: Producer, letter: DeadLetter) -> None:
    original = [(name, value) for name, value in letter.headers if not name.startswith(PREFIX)]
    headers = [*original, ("redrive_time", datetime.now(UTC).isoformat())]
    error = producer.send([(letter.topic, letter.key, letter.value, headers)])[0]
    if error is not None:
        raise CommandError(f"{letter.topic} did not take the message at offset {letter.offset}: {error}")


def _mark(consumer: KafkaConsumer, letter: DeadLetter) -> None:
    partition = TopicPartition(dead_letter_topic(letter.topic), 0)
    consumer.commit({partition: OffsetAndMetadata(letter.offset + 1, "", -1)}, timeout_ms=5000)


def read_all(bootstrap: str) -> list[DeadLetter]:
    """Return every dead letter that the brokers hold, redriven ones included."""
    with _reader(bootstrap) as consumer:
        return _read(consumer, _dead_letter_topics(consumer), from_start=True)


def _dead_letter_topics(consumer: KafkaConsumer) -> list[str]:
    return sorted(topic for topic in consumer.topics() if topic.endswith(SUFFIX))


@contextmanager
def _reader(bootstrap: str) -> Iterator[KafkaConsumer]:
    options = KafkaSettings(bootstrap=bootstrap).client_options()
    try:
        consumer = KafkaConsumer(**CONSUMER_OPTIONS, **options, group_id=GROUP, enable_auto_commit=False, metrics_enabled=False)
    except KafkaError as error:
        raise CommandError("Kafka does not answer", hint=type(error).__name__) from error
    try:
        yield consumer
    finally:
        consumer.close(autocommit=False)


def _read(consumer: KafkaConsumer, topics: list[str], *, from_start: bool) -> list[DeadLetter]:
    """Read dead-letter topics up to their present ends."""
    existing = consumer.topics()
    partitions = [TopicPartition(topic, 0) for topic in topics if topic in existing]
    consumer.assign(partitions)
    ends = consumer.end_offsets(partitions) if partitions else {}
    starts = consumer.beginning_offsets(partitions) if partitions else {}
    for partition in partitions:
        redriven = 0 if from_start else consumer.committed(partition) or 0
        consumer.seek(partition, max(redriven, starts[partition]))
    letters: list[DeadLetter] = []
    while any(consumer.position(partition) < ends[partition] for partition in partitions):
        polled = consumer.poll(timeout_ms=_IDLE_MILLISECONDS)
        if not polled:
            break
        letters.extend(letter for records in polled.values() for record in records if (letter := _letter(record)) is not None)
    return sorted(letters, key=lambda letter: (letter.topic, letter.offset))


def _letter(record: Any) -> DeadLetter | None:  # noqa: ANN401 - the library's record
    if isinstance(record.value, Unreadable):
        error_console.print(f"[yellow]{escape(f'{record.topic}: skipped, {record.value.detail}')}[/]")
        return None
    headers = tuple((name, (value or b"").decode(errors="backslashreplace")) for name, value in record.headers)
    return DeadLetter(
        topic=record.topic.removesuffix(SUFFIX),
        offset=record.offset,
        key=dict(headers).get(KEY, (record.key or b"").decode(errors="backslashreplace")),
        value=record.value or b"",
        headers=headers,
    )
