from __future__ import annotations

import json
import math
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from chassis.due_items import DueItemsTick
from chassis.metrics import ChassisMetrics
from chassis.testing import ManualClock
from services.sla.adapters.calendar import FollowedRules
from services.sla.adapters.timer import DueDeadlines, OutdatedDeadlines, TallyTick
from services.sla.application.start_clock import StartClock, start_clock
from services.sla.domain.deadline import Tally, TicketId
from services.sla.domain.facts import Cycle
from services.sla.domain.promise import Kind
from services.sla.domain.replay import Change, State
from services.sla.telemetry import SlaMetrics
from tests.unit.sla.builders import NOTICES, rules, shanghai
from tests.unit.sla.fakes import MemoryStore, MemoryUnitOfWork

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

NEXT_YEAR = {"2027": {"off": [["2027-01-01", "2027-01-03"]], "make_up_workdays": ["2027-01-09"]}}


class Service:
    """The timers of one replica over a store in memory."""

    def __init__(self, notices: Path) -> None:
        self.notices = notices
        notices.write_text(NOTICES.read_text("utf-8"), "utf-8")
        self.store = MemoryStore()
        self.clock = ManualClock(shanghai("2026-12-29T10:00"))
        self.registry = CollectorRegistry()
        self.metrics = SlaMetrics(self.registry)
        self.rules = FollowedRules(notices, rules)
        self.known_until_: datetime | None = None
        common = ChassisMetrics()
        due = DueDeadlines(self.open, self, self.clock, self.metrics)  # type: ignore[arg-type]  # ports in memory
        outdated = OutdatedDeadlines(self.open, self.rules, self.clock, self.metrics)  # type: ignore[arg-type]
        self.due = DueItemsTick("due", due, common, batch=10)
        self.calendar = DueItemsTick("calendar", outdated, common, batch=10)

    def open(self) -> MemoryUnitOfWork:
        return MemoryUnitOfWork(self.store, self.rules.current)

    def known_until(self) -> datetime | None:
        return self.known_until_

    def submit(self) -> None:
        with self.open() as uow:
            start_clock(uow, StartClock(ticket_id=TicketId("t-1"), cycle=Cycle(0), start_time=self.clock.now()))
            uow.commit()

    def announce_next_year(self) -> None:
        self.notices.write_text(json.dumps(json.loads(self.notices.read_text("utf-8")) | NEXT_YEAR), "utf-8")

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path / "notices.json")


def test_as_long_as_nothing_is_known_for_sure_nothing_is_judged(service: Service) -> None:
    service.submit()
    service.clock.advance(timedelta(hours=1))

    looked_at = service.due()

    assert looked_at == 0
    assert math.isnan(service.value("paidan_sla_known_until_lag_seconds") or 0)
    assert Change.BREACHED not in {each.change for each in service.store.announced}


def test_a_tick_judges_by_what_is_known_and_notices_now(service: Service) -> None:
    service.submit()
    service.known_until_ = service.clock.now() + timedelta(seconds=66)
    service.clock.advance(timedelta(seconds=70))

    looked_at = [service.due(), service.due()]

    assert looked_at == [1, 0]
    assert service.store.announced[-1].change is Change.BREACHED
    assert service.store.announced[-1].event_time == service.clock.now()
    assert service.value("paidan_sla_known_until_lag_seconds") == 4


def test_a_clock_that_waits_for_a_notice_is_set_once_the_file_has_it(service: Service) -> None:
    service.submit()
    at_first = service.calendar()
    waiting = service.store.tickets[TicketId("t-1")].deadlines[1].state

    service.announce_next_year()
    then = [service.calendar(), service.calendar()]

    assert (at_first, waiting) == (0, State.PENDING_CALENDAR)
    assert then == [1, 0]
    assert service.store.tickets[TicketId("t-1")].deadlines[1].due_time == shanghai("2027-01-05T00:00")


def test_the_end_of_the_calendar_is_told(service: Service) -> None:
    service.calendar()
    old = service.rules.current().calendar_version
    before = service.value("paidan_sla_calendar_end_timestamp_seconds", version=old)

    service.announce_next_year()
    service.calendar()

    new = service.rules.current().calendar_version
    assert before == shanghai("2027-01-01T00:00").timestamp()
    assert service.value("paidan_sla_calendar_end_timestamp_seconds", version=new) == shanghai("2028-01-01T00:00").timestamp()
    assert service.value("paidan_sla_calendar_end_timestamp_seconds", version=old) is None


def test_a_replica_activates_its_calendar_once_so_that_a_newer_one_stays_in_force(service: Service) -> None:
    service.calendar()
    first = service.rules.current().calendar_version

    service.clock.advance(timedelta(minutes=1))
    service.calendar()

    assert [version for version, _ in service.store.activations] == [first]


def test_a_calendar_that_comes_back_is_activated_again(service: Service) -> None:
    service.submit()
    service.calendar()
    service.announce_next_year()
    service.clock.advance(timedelta(minutes=1))
    service.calendar()
    service.notices.write_text(NOTICES.read_text("utf-8"), "utf-8")
    service.clock.advance(timedelta(minutes=1))

    computed = service.calendar()

    assert computed == 1
    assert service.store.tickets[TicketId("t-1")].deadlines[1].state is State.PENDING_CALENDAR


class Tallies:
    def __init__(self, tallies: Mapping[tuple[Kind, Tally], int]) -> None:
        self.current = tallies

    def tallies(self) -> Mapping[tuple[Kind, Tally], int]:
        return self.current


def test_gauges_tell_every_tally_and_fall_back_to_nothing(service: Service) -> None:
    tallies = Tallies({(Kind.RESOLUTION, Tally.PENDING_CALENDAR): 3})
    tick = TallyTick(tallies, service.metrics)  # type: ignore[arg-type]  # the port in memory

    tick()
    waiting = service.value("paidan_sla_open_deadlines", kind="resolution", state="pending_calendar")
    tallies.current = {}
    tick()

    assert waiting == 3
    assert service.value("paidan_sla_open_deadlines", kind="resolution", state="pending_calendar") == 0
    assert service.value("paidan_sla_open_deadlines", kind="dispatch", state="overdue") == 0
