"""One stack for all fault tests: services are killed and started again, the brokers and the database too."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from deploy.local.errors import LocalPartError
from tests.fault.checks import gather, judge
from tests.fault.ledger import Ledger
from tests.fault.load import Load
from tests.fault.recovery import BOUND_SECONDS, TABLE, Ended, Table, stamp_on_arrival
from tests.fault.units import Units, settle
from tests.support.city import open_city
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from deploy.local.stack import LocalService
    from tests.fault.checks import Violation
    from tests.support.city import City
    from tests.support.tap import Seen


_BRISK = {
    "PAIDAN_INTAKE_SUBMIT_PACE": "PT0S",
    "PAIDAN_RELAY_PACE": "PT0S",
    "PAIDAN_CONSUMER_LINGER": "PT0.005S",
    "PAIDAN_CLASSIFIER_LEARN_LINGER": "PT0.1S",
}
"""Small rounds: each ticket meets more points at which a service may die, in more orders."""
_SUPERVISION_SECONDS = 0.5


class Theatre:
    """A city, its units at work, and the means to hurt it."""

    def __init__(self, city: City, units: Units) -> None:
        self.city = city
        self.units = units
        self._special: dict[str, Mapping[str, str]] = {}

    def service(self, name: str) -> LocalService:
        """Return a service."""
        return self.city.stack.services[name]

    def arrange(self, names: Collection[str] = (), environment: Mapping[str, str] | None = None, *, mutation: str | None = None) -> None:
        """Drain services and start them again in a special way, and others that run in a special way as they are; do not wait for them.

        Args:
            names: Services that are to run in a special way.
            environment: Their variables on top of the usual ones.
            mutation: What to spoil in them, see `tests.fault.mutant`.
        """
        affected = self._special.keys() | set(names)
        if affected:
            with ThreadPoolExecutor(len(affected)) as pool:
                list(pool.map(lambda name: self.service(name).stop(), affected))
        for name in affected - set(names):
            self.start(name)
        for name in names:
            self.start(name, environment, mutation=mutation)

    def start(self, name: str, environment: Mapping[str, str] | None = None, *, mutation: str | None = None) -> None:
        """Start a service that is down."""
        module = [] if mutation is None else ["tests.fault.mutant", mutation, f"services.{name}"]
        self.service(name).start(environment, module=module)
        if environment or mutation:
            self._special[name] = environment or {}
        else:
            self._special.pop(name, None)

    def await_door(self) -> None:
        """Return when intake serves, or is dead."""
        with suppress(LocalPartError):
            self.service("intake").wait_ready()

    @contextmanager
    def supervised(self, *, except_for: Collection[str] = ()) -> Iterator[Ended]:
        """Restart every service that ends, as `paidan up` does; yield the record of those that ended."""
        ended = Ended()
        stop = threading.Event()

        def supervise() -> None:
            while not stop.wait(_SUPERVISION_SECONDS):
                for name, service in self.city.stack.services.items():
                    if name not in except_for and not service.process.alive:
                        ended.note(name, service.process.returncode)
                        self.start(name, self._special.get(name))

        supervisor = threading.Thread(target=supervise, name="supervisor", daemon=True)
        supervisor.start()
        try:
            yield ended
        finally:
            stop.set()
            supervisor.join(30)

    def heal(self) -> None:
        """Bring everything up that is down."""
        for part in (self.city.stack.parts.kafka, self.city.stack.parts.postgres):
            if part is not None:
                part.start()
        for name, service in self.city.stack.services.items():
            if not service.process.alive:
                self.start(name)

    @contextmanager
    def run(self) -> Iterator[Run]:
        """A run of its own: its own portal, its own ledger; everything is brought up again afterwards."""
        try:
            yield Run(self)
        finally:
            self.heal()


class Run:
    """A load and its account."""

    def __init__(self, theatre: Theatre) -> None:
        self._theatre = theatre
        self.city = theatre.city
        self.city.catch_up()
        self._dead_letters_before = len(self.city.dead_letters())
        self.ledger = Ledger(self.city.new_portal())
        theatre.units.follow(self.ledger)

    def load(self, *, addresses: Sequence[str] = (), **options: Any) -> Load:
        """Return a load client for a `with` block, with the options of `Load`; it calls intake's first replica by default."""
        metadata = self.city.token_of_portal(self.ledger.portal)
        return Load(self.ledger, metadata, addresses or [self._theatre.service("intake").address], **options)

    def verdict(self, *, within: float = 90) -> list[Violation]:
        """Wait until nothing is under way, and return every broken promise."""
        eventually(lambda: not self.ledger.unanswered, lambda: f"answer to {self.ledger.unanswered}", within=within)
        return self.balance(within=within)

    def balance(self, *, within: float = 90, excused: Collection[str] = ()) -> list[Violation]:
        """Wait until no work is pending, and return every violation of the guarantees for tickets, acknowledged or not.

        Args:
            within: Most seconds to wait.
            excused: Topics whose dead letters are expected.
        """
        self.settle([ticket_id for ids in self.ledger.acknowledged.values() for ticket_id in ids], within=within)
        evidence = gather(self.city, self.ledger, dead_letters_before=self._dead_letters_before)
        return judge(replace(evidence, dead_letters=[each for each in evidence.dead_letters if each.topic not in excused]))

    def settle(self, ticket_ids: Collection[str], *, within: float = 90) -> None:
        """Wait until nothing is under way, and none of these tickets waits for a decision."""
        settle(self.city, self._theatre.units, ticket_ids, within=within)

    def dead_letters(self) -> list[Seen]:
        """Return the dead letters since the beginning of the run."""
        return self.city.dead_letters()[self._dead_letters_before :]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the figures of all storms that ran."""
    lines = config.stash.setdefault(TABLE, Table()).lines()
    if lines:
        terminalreporter.section(f"recovery; every figure has the bound {BOUND_SECONDS:g} s")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def table(pytestconfig: pytest.Config) -> Table:
    """The figures of all storms."""
    return pytestconfig.stash.setdefault(TABLE, Table())


@pytest.fixture(scope="package")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    with pytest.MonkeyPatch.context() as environment, ExitStack() as resources:
        for name, value in _BRISK.items():
            environment.setenv(name, value)
        city = resources.enter_context(open_city(tmp_path_factory.mktemp("fault")))
        stamp_on_arrival(city)
        units = Units(city)
        units.start()
        try:
            yield Theatre(city, units)
        finally:
            units.stop()
    gc.collect()


@pytest.fixture
def run(theatre: Theatre) -> Iterator[Run]:
    with theatre.run() as opened:
        yield opened
    # Sockets that the Kafka client left lying about are told of here, where that is expected, and not in whatever test comes next.
    gc.collect()
