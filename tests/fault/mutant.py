"""Starts a service that is spoiled in one way: `python -m tests.fault.mutant <mutation> <module of the service>`.

A mutation removes one of the things that keep a promise. A stress only makes the world around harder, and must do no harm.
"""

from __future__ import annotations

import runpy
import sys
import threading
import time
import zlib
from typing import TYPE_CHECKING, Any

from kafka import errors as kafka_errors

import chassis.consumer
import chassis.producer
import chassis.relay
import chassis.sink
from chassis import failpoint
from chassis.sql import SqlUnitOfWork

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from chassis.publisher import OutRecord

# Stresses


def deliver_everything_twice() -> None:
    """Every poll's records come a second time, as after a lost offset commit."""
    poll = chassis.consumer.KafkaConsumer.poll

    def poll_twice(self: Any, *arguments: Any, **options: Any) -> Any:
        again = self.__dict__.pop("_again", None)
        if again:
            return again
        polled = poll(self, *arguments, **options)
        self.__dict__["_again"] = polled
        return polled

    chassis.consumer.KafkaConsumer.poll = poll_twice


def fail_half_of_the_sends() -> None:
    """Half of the messages are not acknowledged when they are first sent, and the relay takes its time, so that batches are large."""
    send, publish_batch = chassis.producer.Producer.send, chassis.relay.Relay.publish_batch
    failed: set[str] = set()

    def send_half(self: Any, records: Sequence[OutRecord], **options: Any) -> list[Exception | None]:
        ids = [dict(headers)["ce_id"] for _, _, _, headers in records]
        refused = {each for each in ids if each not in failed and zlib.crc32(each.encode()) % 2}
        failed.update(refused)
        outcomes = iter(send(self, [record for record, each in zip(records, ids, strict=True) if each not in refused], **options))
        return [kafka_errors.KafkaTimeoutError() if each in refused else next(outcomes) for each in ids]

    def publish_late(self: Any, conn: Any) -> int:
        time.sleep(0.3)
        return publish_batch(self, conn)

    chassis.producer.Producer.send = send_half
    chassis.relay.Relay.publish_batch = publish_late


# Mutations


def no_inbox() -> None:
    """Every message counts as new, and every message comes twice."""
    deliver_everything_twice()
    chassis.sink.claim = lambda _conn, _table, ids: set(ids)


def offset_before_effect() -> None:
    """Offsets are committed before the effect instead of after it; with the point `mutant.between` between the two."""
    poll = chassis.consumer.KafkaConsumer.poll

    def poll_and_commit(self: Any, *arguments: Any, **options: Any) -> Any:
        polled = poll(self, *arguments, **options)
        if polled:
            self.commit(timeout_ms=5000)
        if any(partition.topic == "intake.tickets.v1" for partition in polled):
            failpoint.reach("mutant.between")
        return polled

    chassis.consumer.KafkaConsumer.poll = poll_and_commit


def publish_after_commit() -> None:
    """Messages are written after the commit instead of within it; with the point `mutant.between` between the two."""
    commit = SqlUnitOfWork.commit

    def flush_nothing(self: Any) -> None:
        self.__dict__["_late"] = list(self._messages)

    def commit_then_publish(self: Any) -> None:
        commit(self)
        late = self.__dict__.pop("_late", [])
        if any(message.type.endswith((".TicketSubmitted", ".TicketDispatched")) for message in late):
            failpoint.reach("mutant.between")
        if late:
            with self._engine.begin() as conn:
                self._outbox.append(conn, late)
            self._outbox.wake()

    SqlUnitOfWork.flush = flush_nothing
    SqlUnitOfWork.commit = commit_then_publish


def relay_without_waves() -> None:
    """The relay sends a batch all at once, whatever keys are in it; and batches fail in part."""
    fail_half_of_the_sends()
    chassis.relay._waves = lambda rows: [list(rows)]


def answer_before_commit() -> None:
    """Submissions are answered at once and committed half a second later; with the point `mutant.between` between the two."""
    import services.intake.bootstrap as intake  # noqa: PLC0415 - only intake has submissions

    def submit_group(open_unit_of_work: Callable[[], Any], submit: Callable[..., Any], _metrics: object) -> Callable[..., Any]:
        def carry_out(commands: Sequence[Any]) -> Any:
            uow = open_unit_of_work().__enter__()
            answers = submit(uow, commands)

            def commit_late() -> None:
                time.sleep(0.5)
                failpoint.reach("mutant.between")
                uow.commit()
                uow.__exit__(None, None, None)

            threading.Thread(target=commit_late, daemon=True).start()
            return answers

        return carry_out

    intake._submit_group = submit_group


def stale_epochs() -> None:
    """A unit may act on any assignment that it ever had."""
    from services.dispatcher.domain.dispatch import Dispatch  # noqa: PLC0415 - only the dispatcher has epochs

    Dispatch._led_by = lambda self, _unit, _epoch: self.assignment


STRESSES: Mapping[str, Callable[[], None]] = {each.__name__: each for each in (deliver_everything_twice, fail_half_of_the_sends)}
MUTATIONS: Mapping[str, Callable[[], None]] = {
    each.__name__: each
    for each in (no_inbox, offset_before_effect, publish_after_commit, relay_without_waves, answer_before_commit, stale_epochs)
}


def main() -> None:
    """Spoil, then run."""
    name, module = sys.argv[1:]
    {**STRESSES, **MUTATIONS}[name]()
    sys.argv[1:] = []
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
