"""Group commit: commands of several threads share a transaction, and none answers for another."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import psycopg
import pytest
from psycopg import errors
from sqlalchemy.exc import DBAPIError, OperationalError

from chassis.group_commit import GroupCommit
from chassis.transient import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

C = TypeVar("C")
R = TypeVar("R")

PATIENCE_SECONDS = 20


class Store:
    """Doubles numbers, all of a group or none; the first group waits until it is let go."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.entered = threading.Event()
        self.let_go = threading.Event()
        self.at_work = 0

    def __call__(self, commands: Sequence[int]) -> list[int]:
        self.at_work += 1
        assert self.at_work == 1, "two groups at once"
        self.groups.append(list(commands))
        self.entered.set()
        assert self.let_go.wait(PATIENCE_SECONDS)
        self.at_work -= 1
        if any(command < 0 for command in commands):
            raise ValueError(min(commands))
        return [2 * command for command in commands]


@contextmanager
def running(group: GroupCommit[C, R]) -> Iterator[Callable[[C], R]]:
    """Run a group commit; gives a function that carries out a command and waits for its answer."""
    stop = threading.Event()
    thread = threading.Thread(target=group.run, args=(stop,))
    thread.start()
    try:
        yield lambda command: group.submit(command).result(PATIENCE_SECONDS)
    finally:
        stop.set()
        thread.join(PATIENCE_SECONDS)


def together(group: GroupCommit[int, int], store: Store, commands: Sequence[int]) -> list[int | BaseException]:
    """Carry out a first command, let the others queue up behind it, then let go; return answers or errors in order."""
    with running(group):
        futures = [group.submit(commands[0])]
        assert store.entered.wait(PATIENCE_SECONDS)
        futures += [group.submit(command) for command in commands[1:]]
        store.let_go.set()
        return [future.exception(PATIENCE_SECONDS) or future.result() for future in futures]


def grouping(carry_out: Callable[[Sequence[int]], Sequence[int]], *, most: int = 64, pace: float = 0) -> GroupCommit[int, int]:
    return GroupCommit(carry_out, most=most, pace=timedelta(seconds=pace))


def test_a_lone_command_is_carried_out_at_once() -> None:
    store = Store()
    store.let_go.set()

    with running(grouping(store)) as carry_out:
        answer = carry_out(21)

    assert answer == 42
    assert store.groups == [[21]]


def test_commands_that_come_meanwhile_share_the_next_group_and_each_gets_its_own_answer() -> None:
    store = Store()
    commands = list(range(1, 20))

    answers = together(grouping(store), store, commands)

    assert answers == [2 * command for command in commands]
    assert store.groups == [[1], commands[1:]]


def test_a_group_is_never_larger_than_the_most() -> None:
    store = Store()
    commands = list(range(1, 13))

    answers = together(grouping(store, most=5), store, commands)

    assert answers == [2 * command for command in commands]
    assert [len(group) for group in store.groups] == [1, 5, 5, 1]
    assert [command for group in store.groups for command in group] == commands


def test_one_poisoned_command_spoils_no_other() -> None:
    store = Store()
    commands = [1, 2, -3, 4, 5]

    answers = together(grouping(store), store, commands)

    assert [answers[i] for i in (0, 1, 3, 4)] == [2, 4, 8, 10]
    assert isinstance(answers[2], ValueError)
    assert answers[2].args == (-3,)
    assert store.groups == [[1], [2, -3, 4, 5], [2], [-3], [4], [5]]


def test_a_lone_poisoned_command_is_tried_once() -> None:
    store = Store()
    store.let_go.set()

    with running(grouping(store)) as carry_out, pytest.raises(ValueError, match="-1"):
        carry_out(-1)
    assert store.groups == [[-1]]


def test_after_a_failure_the_next_command_is_carried_out() -> None:
    store = Store()
    store.let_go.set()

    with running(grouping(store)) as carry_out:
        with pytest.raises(ValueError, match="-1"):
            carry_out(-1)
        answer = carry_out(1)

    assert answer == 2


def test_a_carrier_that_answers_too_few_is_an_error_for_everybody_and_nobody_waits_for_ever() -> None:
    group = grouping(lambda _commands: [])

    with running(group):
        futures = [group.submit(i) for i in range(4)]
        errors = [future.exception(PATIENCE_SECONDS) for future in futures]

    assert [type(error) for error in errors] == [ValueError] * 4


def test_a_command_whose_caller_has_gone_before_its_group_begins_is_not_carried_out() -> None:
    store = Store()
    group = grouping(store)

    with running(group):
        first = group.submit(1)
        assert store.entered.wait(PATIENCE_SECONDS)
        gone, next_ = group.submit(2), group.submit(3)
        gone.cancel()
        store.let_go.set()
        answers = [first.result(PATIENCE_SECONDS), next_.result(PATIENCE_SECONDS)]

    assert answers == [2, 6]
    assert store.groups == [[1], [3]]


def test_a_command_whose_caller_has_gone_leaves_the_queue_at_once() -> None:
    group = grouping(lambda commands: commands)
    futures = [group.submit(command) for command in range(1000)]

    for future in futures[1:]:
        future.cancel()

    assert len(group._queue) == 1


def of_database(kind: type[psycopg.Error]) -> DBAPIError:
    error = DBAPIError.instance("INSERT", None, kind("detail"), psycopg.Error)
    assert isinstance(error, DBAPIError)
    return error


class Failing:
    """Raises an error as long as there is one; notes the groups."""

    def __init__(self, error: Exception) -> None:
        self.error: Exception | None = error
        self.groups: list[list[int]] = []

    def __call__(self, commands: Sequence[int]) -> Sequence[int]:
        self.groups.append(list(commands))
        if self.error is not None:
            raise self.error
        return commands


@pytest.mark.parametrize("kind", [errors.ReadOnlySqlTransaction, errors.CannotConnectNow, psycopg.OperationalError])
def test_while_the_database_is_away_all_who_wait_are_told_so_and_nobody_is_tried_alone(kind: type[psycopg.Error]) -> None:
    carrier = Failing(of_database(kind))
    group, stop = grouping(carrier, most=64), threading.Event()
    futures = [group.submit(command) for command in range(200)]
    stop.set()

    group.run(stop)

    outcomes = [future.exception(0) for future in futures]
    assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
    assert len({id(outcome) for outcome in outcomes}) == 200
    assert carrier.groups == [list(range(64))] * 2


def test_a_connection_that_a_restart_left_dead_costs_nobody_an_answer() -> None:
    carrier = Failing(of_database(psycopg.OperationalError))

    def carry_out(commands: Sequence[int]) -> Sequence[int]:
        try:
            return carrier(commands)
        finally:
            carrier.error = None

    with running(grouping(carry_out)) as submit:
        assert submit(7) == 7
    assert carrier.groups == [[7], [7]]


def test_a_database_that_is_slow_for_all_is_not_asked_for_every_command_alone() -> None:
    carrier = Failing(of_database(errors.QueryCanceled))
    group, stop = grouping(carrier, most=64), threading.Event()
    futures = [group.submit(command) for command in range(64)]
    stop.set()

    group.run(stop)

    assert {type(future.exception(0)) for future in futures} <= {StoreUnavailable, OperationalError}
    assert carrier.groups == [list(range(64)), [0], [1]]


def test_a_caller_that_goes_while_its_group_is_under_way_disturbs_nobody() -> None:
    store = Store()
    group = grouping(store)

    with running(group):
        first = group.submit(1)
        assert store.entered.wait(PATIENCE_SECONDS)
        cancelled = first.cancel()
        store.let_go.set()

        assert not cancelled
        assert group.submit(2).result(PATIENCE_SECONDS) == 4


def test_what_came_before_the_stop_is_carried_out() -> None:
    store = Store()
    store.let_go.set()
    group, stop = grouping(store), threading.Event()
    futures = [group.submit(command) for command in (1, 2)]
    stop.set()

    group.run(stop)

    assert [future.result(0) for future in futures] == [2, 4]


def test_commands_thick_and_fast_are_carried_out_a_group_a_pace() -> None:
    store = Store()
    store.let_go.set()
    group = grouping(store, pace=0.2)

    with running(group) as carry_out:
        carry_out(1)
        began = time.monotonic()
        futures = [group.submit(command) for command in range(2, 10)]
        for future in futures:
            future.result(PATIENCE_SECONDS)
        took = time.monotonic() - began

    assert store.groups == [[1], list(range(2, 10))]
    assert took > 0.1


def test_every_answer_is_right_when_many_call_at_once() -> None:
    def carry_out(commands: Sequence[int]) -> list[int]:
        if any(command % 17 == 0 for command in commands):
            raise ValueError
        return [command + 1 for command in commands]

    def answer_to(command: int) -> int | None:
        try:
            return carry_out_one(command)
        except ValueError:
            return None

    with running(grouping(carry_out, most=8)) as carry_out_one, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(answer_to, range(1000)))

    assert answers == [None if command % 17 == 0 else command + 1 for command in range(1000)]
