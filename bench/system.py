"""What is measured and what measures it: the stack, the load, the observer, the books."""

from __future__ import annotations

import time
import uuid
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from bench.ledger import Ledger
from bench.load import Load
from bench.observer import Observer
from bench.pipeline import Pipeline
from bench.processes import CpuMeter
from bench.requests import PORTALS, Submissions, samples
from bench.stages import TopicReader
from bench.worker import Worker
from chassis.caller import Caller, Role
from chassis.settings import KafkaSettings
from cli.connection import issue_tokens
from deploy.local.stack import LocalService, open_stack, start_services
from deploy.schemas import SERVICES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.ledger import Account
    from bench.load import Answer
    from bench.requests import Sample
    from bench.screen import Screen
    from bench.worker import Call
    from deploy.local.stack import LocalStack

_DOOR = "intake"
_LOOK_SECONDS = 0.5
# What waits for a person goes to the duty desk after 40 s; a ticket that has not come long after that will not come.
_NO_ARRIVAL_PATIENCE_SECONDS = 75.0


class System:
    """The running system with everything around it that a measurement needs."""

    def __init__(self, stack: LocalStack, exits: ExitStack, screen: Screen) -> None:
        """Put the measuring side around `stack`; it is closed by `exits`."""
        self.run = uuid.uuid4().hex[:8]
        self.screen = screen
        self.ledger = Ledger()
        self.texts: Sequence[Sample] = samples()
        self.kafka_options = KafkaSettings(bootstrap=stack.parts.kafka_bootstrap).client_options()
        self.database_url = stack.parts.database_url
        self.services = dict(stack.services)
        self._stack = stack
        self._exits = exits
        tokens = issue_tokens(self.database_url, [Caller(Role.PORTAL, portal) for portal in PORTALS], note="benchmark")
        self.pipeline = Pipeline(self.kafka_options, self.database_url)
        exits.callback(self.pipeline.close)
        self._dead_before = self.pipeline.dead_letters()
        self.observer = exits.enter_context(Worker("observer", Observer, self.kafka_options))
        self.topics = exits.enter_context(Worker("topics", TopicReader, self.kafka_options))
        door = stack.services[_DOOR].address
        self.load = exits.enter_context(
            Worker("load", Load, door, self.run, self.texts, dict(zip(PORTALS, tokens, strict=True))),
        )

    def start_rest(self) -> float:
        """Start the services behind the door that do not run yet; returns when their start began, in seconds since the epoch.

        Raises:
            LocalPartError: One did not become ready.
        """
        begun = time.time()
        missing = [
            LocalService(name, parts=self._stack.parts, log_dir=self._stack.log_dir) for name in SERVICES if name not in self.services
        ]
        for service in missing:
            self._exits.callback(service.stop)
        self.services |= {service.name: service for service in missing}
        start_services(missing, self.screen.say)
        return begun

    def cpu_meter(self) -> CpuMeter:
        """Start measuring the CPU time of every process that takes part."""
        parts = {part.name: part for part in (self._stack.parts.kafka, self._stack.parts.postgres) if part is not None}
        processes = {name: service.process for name, service in self.services.items()} | {
            name: part.process for name, part in parts.items()
        }
        pids = {name: process.pid for name, process in processes.items() if process.pid is not None}
        return CpuMeter({**pids, "bench: load": self.load.pid, "bench: observer": self.observer.pid})

    def use(self, texts: Sequence[Sample]) -> None:
        """Submit these texts from now on."""
        self.texts = texts
        self.load.call(Load.use, texts)

    def sample_of(self, answer: Answer) -> Sample:
        """Return the text that a submission was made of."""
        return Submissions(self.run, self.texts).sample_of(answer.number)

    def submit(self, call: Call[Sequence[Answer]]) -> Sequence[Answer]:
        """See a call of the load through, and take it down."""
        begun = time.monotonic()
        while not call.wait(_LOOK_SECONDS):
            self.screen.show(f"{time.monotonic() - begun:.0f} s, {self.observer.call(Observer.count)} orders have reached units")
        answers = call.result()
        self.ledger.submitted(answers)
        return answers

    def settle(self, *, patience: float) -> float | None:
        """Wait until nothing is under way between the services; returns the seconds that it took, None if it took too long."""
        took = self.pipeline.wait_idle(patience=patience, on_look=lambda left: self.screen.show(f"{left} messages are under way"))
        self.take_arrivals()
        return took

    def wait_arrivals(self) -> None:
        """Wait until every ticket has arrived, or none does for so long that no more will."""
        last = time.monotonic()
        while (left := self.ledger.pending) and time.monotonic() - last < _NO_ARRIVAL_PATIENCE_SECONDS:
            time.sleep(_LOOK_SECONDS)
            self.take_arrivals()
            if self.ledger.pending < left:
                last = time.monotonic()
            self.screen.show(f"{self.ledger.pending} tickets have not arrived")

    def take_arrivals(self) -> None:
        """Take down what reached the units."""
        self.ledger.arrived(self.observer.call(Observer.take))

    def account(self) -> tuple[Account, int]:
        """Return the account of all tickets, and how many dead letters came about."""
        return self.ledger.account(), self.pipeline.dead_letters() - self._dead_before

    @property
    def pids(self) -> Mapping[str, int]:
        """Service → its process id."""
        return {name: service.process.pid for name, service in self.services.items() if service.process.pid is not None}


@contextmanager
def open_system(data_dir: Path, screen: Screen) -> Iterator[System]:
    """Start Kafka, PostgreSQL and intake with everything around them; all of it is gone at the end of the `with` block.

    Raises:
        LocalPartError: Something did not become ready.
    """
    with open_stack(data_dir, on_progress=screen.say, services=[_DOOR]) as stack, ExitStack() as exits:
        yield System(stack, exits, screen)
