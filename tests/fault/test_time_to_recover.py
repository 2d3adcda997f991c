"""Storms that measure the time to recover, and whether a fault of one neighbour affects other tickets.

Each scenario adds a line to the table that `make test-fault` prints at its end. The bound of all times is 10 s. What "before" says in a
docstring was measured before the relay, the consumer, the database layer and the gRPC server were fixed.
"""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from kafka.admin import KafkaAdminClient
from sqlalchemy import make_url, text

from deploy.local.stack import LocalService
from paidan.dispatcher.v1 import dispatcher_service_pb2 as dispatcher
from tests.fault.hostile_unit import HostileUnit
from tests.fault.marks import FAULT
from tests.fault.recovery import (
    BOUND_SECONDS,
    Outage,
    after_outages,
    beside_a_neighbour,
    codes,
    p99_of_acceptance,
    seconds_until_caught_up,
)
from tests.support.actors import Portal, Unit
from tests.support.cluster import SecondBroker
from tests.support.requests import FIRE_REVIEW, Matter
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from deploy.local.kafka import LocalKafka
    from deploy.local.part import LocalPart
    from deploy.local.postgres import LocalPostgres
    from tests.fault.conftest import Run, Theatre
    from tests.fault.load import Load
    from tests.fault.recovery import Table
    from tests.support.city import City
    from tests.support.tap import Seen

pytestmark = [*FAULT, pytest.mark.storm]

SERVICES = ("intake", "classifier", "dispatcher", "sla")
STEADY: Mapping[str, Any] = {"rate": 10, "burst": math.inf, "guided": True}
"""Ten tickets a second from a portal that retries by the guide."""

_GIVE_UP_SECONDS = 60
_NEIGHBOUR = "500233"
_NEIGHBOURS = Matter(FIRE_REVIEW.text, _NEIGHBOUR, _NEIGHBOUR, FIRE_REVIEW.class_code)
_TOPIC = f"dispatch.{_NEIGHBOUR}.v1"


@dataclass(frozen=True, slots=True)
class Stage:
    """The running system and the parts that a test can break; the services reach the database through a proxy."""

    theatre: Theatre
    kafka: LocalKafka
    postgres: LocalPostgres
    proxy: TcpProxy

    @property
    def city(self) -> City:
        return self.theatre.city

    @property
    def through_proxy(self) -> Mapping[str, str]:
        """Environment of a service that reaches the database through the proxy."""
        url = make_url(self.city.database_url).set(port=self.proxy.port)
        return {"DATABASE_URL": url.render_as_string(hide_password=False)}


@pytest.fixture(scope="module")
def stage(theatre: Theatre) -> Iterator[Stage]:
    parts = theatre.city.stack.parts
    if parts.kafka is None or parts.postgres is None:
        pytest.fail("storms break the brokers and the database: run them without KAFKA_BOOTSTRAP and DATABASE_URL")
    with TcpProxy(parts.postgres.port) as proxy:
        stage = Stage(theatre, parts.kafka, parts.postgres, proxy)
        theatre.arrange(SERVICES, stage.through_proxy)
        for name in SERVICES:
            theatre.service(name).wait_ready()
        yield stage
        theatre.arrange()


# Faults that concern everybody


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A part that all tickets need fails and recovers.

    Attributes:
        name: Its name in the table.
        strike: Breaks the part and returns when it answers again.
        times: How often.
        codes: What portals may be answered meanwhile.
        before: Figures before the fix.
    """

    name: str
    strike: Callable[[Stage], None]
    times: int
    codes: Collection[str] = field(default=frozenset({"OK", "UNAVAILABLE with RetryInfo", "DEADLINE_EXCEEDED"}))
    before: str


def kill(part: LocalPart) -> None:
    part.kill()
    time.sleep(3)
    part.start()


def restart(part: LocalPart) -> None:
    part.stop()
    part.start()


def turn_read_only(stage: Stage) -> None:
    """As after a switch-over to a standby: open connections stay open and are read-only."""
    _configure(stage.city, "SET default_transaction_read_only = on")
    time.sleep(20)
    _configure(stage.city, "RESET default_transaction_read_only")


def black_hole_postgres(stage: Stage) -> None:
    stage.proxy.hold()
    time.sleep(15)
    stage.proxy.release()


def _configure(city: City, setting: str) -> None:
    url = make_url(city.database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM {setting}")
        connection.execute("SELECT pg_reload_conf()")


FAULTS = [
    Fault(
        name="Kafka killed, back after 3 s",
        strike=lambda stage: kill(stage.kafka),
        times=6,
        codes={"OK"},
        before="slowest 127.1 s, first 103.1 s, all not within 60 s, at the second kill; no rest",
    ),
    Fault(
        name="Kafka restarted in order",
        strike=lambda stage: restart(stage.kafka),
        times=2,
        codes={"OK"},
        before="nothing dispatched within 200 s of the first restart",
    ),
    Fault(
        name="PostgreSQL killed, back after 3 s",
        strike=lambda stage: kill(stage.postgres),
        times=2,
        before="slowest 29.7 s, first 13.9 s, all 12.8 s on a busy machine; held on a quieter one: 6.6 s, 5.5 s, 7.1 s",
    ),
    Fault(
        name="PostgreSQL restarted in order",
        strike=lambda stage: restart(stage.postgres),
        times=2,
        before="slowest 22.9 s, first 15.3 s, all 13.9 s on a busy machine; first 5.1 s, all 6.8 s on a quieter one",
    ),
    Fault(
        name="PostgreSQL read-only for 20 s",
        strike=turn_read_only,
        times=2,
        before="slowest 27.2 s, 211 INTERNAL, 1722 UNAVAILABLE without RetryInfo, services ended; no rest",
    ),
    Fault(
        name="PostgreSQL black-holed for 15 s", strike=black_hole_postgres, times=1, before="held: slowest 7.4 s, first 6.9 s, all 5.1 s"
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_everything_flows_again_within_10_s_of_the_return_of_what_broke(stage: Stage, run: Run, table: Table, fault: Fault) -> None:
    with stage.theatre.supervised() as ended, run.load(**STEADY) as load:
        outages = list(_strike(stage, run, load, fault))
        load.go_on_for(30)
    answers = codes(run.ledger)

    broken = [f"{count} answers {code}" for code, count in answers.items() if code not in fault.codes]
    figures = after_outages(fault.name, run, outages, broken=[*broken, *ended], notes=[f"{len(outages)} times; portals got {answers}"])
    table.add(figures)
    assert figures.failures == []


def _strike(stage: Stage, run: Run, load: Load, fault: Fault) -> Iterator[Outage]:
    """Strike again and again, each time after all has recovered; stop when it does not."""
    for _ in range(fault.times):
        load.go_on_for(30)
        broke = time.time()
        fault.strike(stage)
        back = time.time()
        outage = Outage(broke, back, seconds_until_caught_up(stage.city, run.ledger, since=back, within=_GIVE_UP_SECONDS))
        yield outage
        if math.isinf(outage.caught_up):
            return


# Faults of one neighbour


@pytest.mark.parametrize("orders", [1, 650])
def test_a_topic_without_a_leader_delays_nobody_else(stage: Stage, run: Run, table: Table, orders: int) -> None:
    """Before: slowest dispatch of others 23.0 s with two orders waiting, 51.1 s with 650."""
    with _second_broker(stage) as second, stage.theatre.supervised() as ended:
        with run.load(**STEADY) as load:
            load.go_on_for(20)
            second.kill()
            with run.load(**{**STEADY, "rate": min(orders, 60), "matters": [_NEIGHBOURS]}) as flood:
                flood.go_on_for(orders)
            load.go_on_for(200)
            second.start()
            back = time.time()
            with run.load(**{**STEADY, "matters": [_NEIGHBOURS]}) as later:
                later.go_on_for(1)
            load.go_on_for(150)
        figures = beside_a_neighbour(
            f"topic without a leader, {flood.sent} orders wait", run, neighbour=_NEIGHBOUR, since=back, broken=[*ended]
        )

    table.add(figures)
    assert figures.failures == []


@contextmanager
def _second_broker(stage: Stage) -> Iterator[SecondBroker]:
    """Start a broker that leads the neighbour's topic and nothing else."""
    with SecondBroker(stage.kafka) as second:
        second.take(_TOPIC)
        try:
            yield second
        finally:
            second.start()
            second.give_back(_TOPIC)


def test_a_poisoned_ticket_in_a_timer_delays_no_other_ticket(stage: Stage, run: Run, table: Table) -> None:
    """The classifier is away, so that every ticket is decided by the timer that meets the poisoned ones.

    Before: slowest dispatch 32.2 s; the dispatcher ended three times, the SLA service once.
    """
    city, theatre = stage.city, stage.theatre
    theatre.arrange(["dispatcher"], {**stage.through_proxy, "PAIDAN_DISPATCHER_RULES_AFTER": "PT3S"})
    theatre.service("dispatcher").wait_ready()
    theatre.service("classifier").stop()
    portal = Portal(city)
    unreadable, unwritable, unjudged = (_pending(city, portal) for _ in range(3))

    with theatre.supervised(except_for=["classifier"]) as ended:
        with _poisoned(city, unreadable, unwritable, unjudged), run.load(**STEADY) as load:
            load.go_on_for(200)
        mended = [ticket_id for ticket_id in (unreadable, unwritable, unjudged) if not _is_dispatched(city, ticket_id)]
    theatre.start("classifier", stage.through_proxy)
    theatre.service("classifier").wait_ready()

    broken = [*ended, *(f"{ticket_id} is not dispatched though its row is mended" for ticket_id in mended)]
    figures = beside_a_neighbour("three poisoned tickets in timers", run, broken=broken)
    table.add(figures)
    assert figures.failures == []


def _pending(city: City, portal: Portal) -> str:
    """Submit a ticket and return its id once dispatcher and SLA service know it and it waits for a decision."""
    ticket_id = portal.submit(FIRE_REVIEW)
    known = "SELECT FROM dispatcher.dispatch JOIN sla.ticket_clock USING (ticket_id) WHERE ticket_id = :id AND state = 'PENDING'"
    eventually(lambda: len(city.query(known, id=ticket_id)) == 1, f"{ticket_id} to wait for a decision", within=10)
    return ticket_id


@contextmanager
def _poisoned(city: City, unreadable: str, unwritable: str, unjudged: str) -> Iterator[None]:
    """Spoil rows that timers handle: one fails when it is read, one when it is written, one when the SLA service reads it."""
    ((facts,),) = city.query("SELECT facts FROM sla.ticket_clock WHERE ticket_id = :id", id=unjudged)
    _execute(city, "UPDATE dispatcher.dispatch SET state = 'NO_SUCH_STATE', next_action_time = now() WHERE ticket_id = :id", id=unreadable)
    _execute(city, "UPDATE dispatcher.dispatch SET epoch = 2147483647, next_action_time = now() WHERE ticket_id = :id", id=unwritable)
    spoil = "UPDATE sla.ticket_clock SET facts = CAST(:facts AS jsonb), check_time = now() WHERE ticket_id = :id"
    _execute(city, spoil, id=unjudged, facts='{"starts": "nonsense"}')
    try:
        yield
    finally:
        _execute(city, "UPDATE dispatcher.dispatch SET state = 'PENDING', next_action_time = now() WHERE ticket_id = :id", id=unreadable)
        _execute(city, "UPDATE dispatcher.dispatch SET epoch = 0, next_action_time = now() WHERE ticket_id = :id", id=unwritable)
        _execute(city, spoil, id=unjudged, facts=json.dumps(facts))


def _execute(city: City, statement: str, **parameters: object) -> None:
    with city.engine.begin() as conn:
        conn.execute(text(statement), parameters)


def _is_dispatched(city: City, ticket_id: str) -> bool:
    with suppress(AssertionError):
        eventually(lambda: city.messages(ticket_id, body="order"), f"order about {ticket_id}", within=BOUND_SECONDS)
    return bool(city.messages(ticket_id, body="order"))


def test_a_portal_that_floods_its_door_delays_no_other_portal(stage: Stage, run: Run, table: Table) -> None:
    """Two hundred streams that nobody reads, bytes that are no request, and requests of a megabyte, all at once.

    Before: held, slowest dispatch 1.5 s, 99 % of tickets accepted within 1.7 s; 135 streams were ABORTED as too slow.
    """
    hostile = Portal(stage.city)
    ticket_id = _with_long_history(stage.city, hostile)
    ((_, authorization),) = hostile.metadata
    argv = [sys.executable, "-m", "tests.fault.hostile_portal", stage.theatre.service("intake").address, authorization, ticket_id]

    with stage.theatre.supervised() as ended, run.load(**STEADY) as load:
        load.go_on_for(20)
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as flood:
            load.go_on_for(300)
            flood.kill()
            said, _ = flood.communicate()
        load.go_on_for(20)
    answers, accepted = codes(run.ledger), p99_of_acceptance(run)

    broken = [*ended, *(f"{count} answers {code}" for code, count in answers.items() if code not in _DOCUMENTED)]
    if accepted > BOUND_SECONDS:
        broken.append(f"99 % of tickets are accepted within {accepted:.1f} s")
    flooded = json.loads(said.splitlines()[-1])
    notes = [f"99 % of tickets accepted within {accepted:.2f} s; portals got {answers}", f"the flood got {flooded}"]
    figures = beside_a_neighbour("one portal floods its door", run, broken=broken, notes=notes)
    table.add(figures)
    assert flooded.keys() == {"unread streams", "garbage", "giants"}
    assert figures.failures == []


def _with_long_history(city: City, portal: Portal) -> str:
    """Submit a ticket with 100 changes of 3 kB each, more than a stream's client takes in unread; returns its id."""
    ticket_id = portal.submit(FIRE_REVIEW)
    unit = Unit(city, FIRE_REVIEW.lead)
    unit.order(ticket_id)
    for n in range(100):
        note = f"{n}" + "水" * 990
        request = dispatcher.ReportProgressRequest(ticket_id=ticket_id, epoch=1, note=note)
        city.dispatcher.ReportProgress(request, metadata=unit.metadata, timeout=10)
    portal.changes(ticket_id, "progress", after=99)
    return ticket_id


_DOCUMENTED = {"OK", "UNAVAILABLE with RetryInfo", "UNAVAILABLE without RetryInfo", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}
"""Codes that a portal may get for a valid request while servers come and go, by the guide's table of retries."""

_GROUPS = {
    "intake": ["paidan-intake"],
    "classifier": ["paidan-classifier", "paidan-classifier-outcomes"],
    "dispatcher": ["paidan-dispatcher"],
    "sla": ["paidan-sla"],
}
_HANDOVER_SECONDS = 2.0


def test_a_rolling_restart_of_two_replicas_each_is_not_noticed(stage: Stage, run: Run, table: Table) -> None:
    """Every replica is stopped in order and started again, one after the other.

    Before: the other replica takes over after 2.2 to 3.2 s, slowest dispatch 4.7 s; on a busy machine 9.6 s.
    """
    city, handovers = stage.city, dict[str, float]()
    with ExitStack() as resources:
        replicas = {name: [stage.theatre.service(name), _second_replica(stage, name, resources)] for name in SERVICES}
        for name in SERVICES:
            _await_members(city, name, 2)
        with run.load(**STEADY, addresses=[replica.address for replica in replicas["intake"]]) as load:
            load.go_on_for(20)
            for name in SERVICES:
                for replica in replicas[name]:
                    handovers[name] = max(handovers.get(name, 0.0), _restart(stage, replica))
            load.go_on_for(20)
        answers = codes(run.ledger)
        broken = [f"{count} answers {code}" for code, count in answers.items() if code not in _DOCUMENTED]
        broken += [f"{name} hands over after {seconds:.1f} s" for name, seconds in handovers.items() if seconds > _HANDOVER_SECONDS]
        told = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in handovers.items())
        notes = [f"longest handover of each service: {told}; portals got {answers}"]
        figures = beside_a_neighbour("rolling restart of two replicas each", run, broken=broken, notes=notes)

    table.add(figures)
    assert figures.failures == []


def _second_replica(stage: Stage, name: str, resources: ExitStack) -> LocalService:
    stack = stage.city.stack
    replica = LocalService(name, parts=stack.parts, log_dir=stack.log_dir, label="-second")
    resources.callback(replica.stop)
    replica.start(stage.through_proxy)
    replica.wait_ready()
    return replica


def _restart(stage: Stage, replica: LocalService) -> float:
    """Stop a replica in order and start it again; returns how long the other one took to take over, in seconds."""
    told = time.monotonic()
    replica.process.send_signal(signal.SIGTERM)
    _await_members(stage.city, replica.name, 1)
    handover = time.monotonic() - told
    replica.stop()
    replica.start(stage.through_proxy)
    replica.wait_ready()
    _await_members(stage.city, replica.name, 2)
    return handover


def _await_members(city: City, name: str, count: int) -> None:
    """Wait until the groups of a service have so many members, and each has its partitions."""
    with KafkaAdminClient(bootstrap_servers=city.bootstrap) as admin:

        def settled() -> bool:
            groups = admin.describe_groups(_GROUPS[name]).values()
            return all((group["group_state"], len(group["members"])) == ("Stable", count) for group in groups)

        eventually(settled, f"{count} members of {_GROUPS[name]}", within=60)


def test_a_unit_whose_receipts_are_hard_to_read_delays_nobody_and_is_told(stage: Stage, run: Run, table: Table) -> None:
    """Before: of 300 receipts that can be read one is answered, and the unit's partition never moves on. Others: slowest 4.4 s."""
    with stage.theatre.supervised() as ended, run.load(**STEADY) as load:
        load.go_on_for(20)
        with HostileUnit(stage.city.bootstrap, _NEIGHBOUR) as hostile:
            load.go_on_for(200)
        untold = _untold(stage.city, hostile)
        load.go_on_for(20)

    sent = ", ".join(f"{len(ids)} {kind}" for kind, ids in hostile.sent.items())
    excused = [f"receipts.{_NEIGHBOUR}.v1.dlq"]
    figures = beside_a_neighbour(
        "one unit's receipts are hard to read", run, excused=excused, broken=[*ended, *untold], notes=[f"sent {sent}"]
    )
    table.add(figures)
    assert figures.failures == []


def _untold(city: City, hostile: HostileUnit) -> list[str]:
    """Return the kinds of receipts without a timely refusal; a refusal of an unreadable receipt has no id."""

    def missing() -> list[str]:
        told = [json.loads(record.value)["refused"].get("receiptId", "") for record in _refusals(city)]
        found = {kind: len(set(ids) & set(told)) for kind, ids in hostile.sent.items()}
        nameless = len(told) - sum(found.values())
        for kind in ("2 MiB", "garbled"):
            extra = min(nameless, len(hostile.sent[kind]) - found[kind])
            found[kind], nameless = found[kind] + extra, nameless - extra
        wanted = {kind: 0 if kind == "aborted" else len(ids) for kind, ids in hostile.sent.items()}
        return [f"told of {found[kind]} receipts {kind} instead of {count}" for kind, count in wanted.items() if found[kind] != count]

    with suppress(AssertionError):
        eventually(lambda: not missing(), "refusals", within=BOUND_SECONDS)
    return missing()


def _refusals(city: City) -> list[Seen]:
    first: dict[str, Seen] = {}
    for record in city.all_records():
        if record.topic == _TOPIC and b'"refused"' in record.value:
            first.setdefault(json.loads(record.value)["messageId"], record)
    return list(first.values())
