"""Due items: one that fails does not stop the others, and is neither tried nor logged all the time."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import errors
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from chassis.due_items import DueItemsTick
from chassis.metrics import ChassisMetrics

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

NAMES = [f"t{i:02d}" for i in range(20)]


def of_database(kind: type[psycopg.Error]) -> DBAPIError:
    error = DBAPIError.instance("SELECT 1", None, kind("detail"), psycopg.Error)
    assert isinstance(error, DBAPIError)
    return error


class Items:
    """Items in memory, oldest first; some fail."""

    def __init__(self, *names: str) -> None:
        self.due = list(names)
        self.done: list[str] = []
        self.failing: dict[str, Exception] = {}
        self.tries: list[str] = []

    def act(self, size: int, *, without: Collection[str] = (), only: str | None = None) -> int:
        chosen = [name for name in self.due if name not in without and only in {None, name}][:size]
        self.tries += chosen
        for name in chosen:
            if name in self.failing:
                raise self.failing[name]
        self.done += chosen
        self.due = [name for name in self.due if name not in chosen]
        return len(chosen)

    def ids(self, size: int, *, without: Collection[str] = ()) -> Sequence[str]:
        return [name for name in self.due if name not in without][:size]


class Stage:
    def __init__(self, *names: str, batch: int = 10) -> None:
        self.items = Items(*names)
        self.now = 0.0
        self.metrics = ChassisMetrics()
        self.tick = DueItemsTick("guard", self.items, self.metrics, batch=batch, monotonic=lambda: self.now)

    def value(self, name: str) -> float:
        return self.metrics.registry.get_sample_value(name, {"timer": "guard"}) or 0.0


def test_one_that_fails_at_the_head_stops_none_of_those_behind_it() -> None:
    stage = Stage(*NAMES)
    stage.items.failing["t00"] = ZeroDivisionError()

    acted = [stage.tick(), stage.tick(), stage.tick()]

    assert acted == [9, 10, 0]
    assert stage.items.done == NAMES[1:]
    assert stage.items.due == ["t00"]
    assert stage.value("paidan_timer_item_failures_total") == 1
    assert stage.value("paidan_timer_items_pushed_back") == 1


def test_one_that_fails_is_tried_and_logged_once_a_step_of_its_backoff() -> None:
    stage = Stage("t00")
    stage.items.failing["t00"] = ZeroDivisionError()

    tried_at = []
    with capture_logs() as logs:
        for second in range(200):
            stage.now = float(second)
            before = len(stage.items.tries)
            stage.tick()
            if len(stage.items.tries) > before:
                tried_at.append(second)

    assert tried_at == [0, 1, 3, 7, 15, 31, 63, 123, 183]
    failed = [line for line in logs if line["event"] == "due_item_failed"]
    assert len(failed) == len(tried_at)
    assert {line["ticket_id"] for line in failed} == {"t00"}
    assert isinstance(failed[0]["exc_info"], ZeroDivisionError)


def test_one_that_is_well_again_is_acted_on_and_forgotten() -> None:
    stage = Stage("t00", "t01")
    stage.items.failing["t00"] = ZeroDivisionError()
    stage.tick()

    stage.items.failing.clear()
    stage.now = 1.0
    stage.tick()

    assert stage.items.done == ["t01", "t00"]
    assert stage.value("paidan_timer_items_pushed_back") == 0


@pytest.mark.parametrize("kind", [errors.ReadOnlySqlTransaction, errors.AdminShutdown, errors.DeadlockDetected])
def test_a_database_that_is_away_puts_the_tick_off_and_blames_no_item(kind: type[psycopg.Error]) -> None:
    stage = Stage(*NAMES)
    stage.items.failing["t03"] = of_database(kind)

    with pytest.raises(DBAPIError):
        stage.tick()

    assert stage.value("paidan_timer_item_failures_total") == 0
    assert stage.items.done == []


def test_one_that_times_out_while_the_others_do_not_is_pushed_back() -> None:
    stage = Stage(*NAMES)
    stage.items.failing["t00"] = of_database(errors.QueryCanceled)

    acted = stage.tick()

    assert acted == 9
    assert stage.value("paidan_timer_items_pushed_back") == 1


def test_a_database_that_is_slow_for_all_puts_the_tick_off() -> None:
    stage = Stage(*NAMES)
    stage.items.failing = dict.fromkeys(NAMES, of_database(errors.QueryCanceled))

    with pytest.raises(DBAPIError):
        stage.tick()

    assert len(stage.items.tries) == 10 + 3
    assert stage.value("paidan_timer_item_failures_total") == 0


@pytest.mark.parametrize("poisoned", [3, 10, 12])
def test_many_that_time_out_at_the_head_do_not_stop_those_behind_them_for_ever(poisoned: int) -> None:
    stage = Stage(*NAMES)
    stage.items.failing = dict.fromkeys(NAMES[:poisoned], of_database(errors.QueryCanceled))

    for second in range(12):
        stage.now = second * 5.0
        with suppress(DBAPIError), capture_logs():
            stage.tick()

    assert stage.items.done == NAMES[poisoned:]
    stage.items.due.append("new")
    before = len(stage.items.tries)
    stage.now += 60
    with capture_logs():
        stage.tick()
    assert stage.items.tries[before:][0] == "new"
    assert len(stage.items.tries) - before <= 2, "each one takes the time of a time-out, in which no other is acted on"


def test_a_database_that_was_slow_for_all_delays_nothing_once_it_is_well() -> None:
    stage = Stage(*NAMES)
    stage.items.failing = dict.fromkeys(NAMES, of_database(errors.QueryCanceled))
    for second in range(100):
        stage.now = float(second)
        with suppress(DBAPIError), capture_logs():
            stage.tick()

    stage.items.failing.clear()
    for _ in range(10):
        stage.now += 1
        stage.tick()

    assert sorted(stage.items.done) == NAMES


def test_an_error_that_belongs_to_no_item_is_raised() -> None:
    stage = Stage()
    stage.items.act = lambda *_args, **_kwargs: 1 // 0  # type: ignore[method-assign]

    with pytest.raises(ZeroDivisionError):
        stage.tick()
