"""Group commit: commands of several threads share a transaction, and none answers for another."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from chassis.group_commit import GroupCommit

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def together(group: GroupCommit[int, int], store: Store, commands: Sequence[int]) -> list[int | Exception]:
    """Carry out a first command, let the others queue up behind it, then let go; return answers or errors in order."""

    def call(command: int) -> int | Exception:
        try:
            return group(command)
        except Exception as error:  # noqa: BLE001 - the answer of this test
            return error

    with ThreadPoolExecutor(len(commands)) as pool:
        first = pool.submit(call, commands[0])
        assert store.entered.wait(PATIENCE_SECONDS)
        rest = []
        for n, command in enumerate(commands[1:], 1):
            rest.append(pool.submit(call, command))
            _wait_for(lambda n=n: len(group._queue) == n)
        store.let_go.set()
        return [future.result(PATIENCE_SECONDS) for future in (first, *rest)]


def _wait_for(holds) -> None:  # noqa: ANN001
    for _ in range(2000):
        if holds():
            return
        threading.Event().wait(0.01)
    raise AssertionError("did not come true")


def test_a_lone_command_is_carried_out_at_once() -> None:
    store = Store()
    store.let_go.set()

    assert GroupCommit(store, most=64)(21) == 42
    assert store.groups == [[21]]


def test_commands_that_come_meanwhile_share_the_next_group_and_each_gets_its_own_answer() -> None:
    store = Store()
    commands = list(range(1, 20))

    answers = together(GroupCommit(store, most=64), store, commands)

    assert answers == [2 * command for command in commands]
    assert store.groups == [[1], commands[1:]]


def test_a_group_is_never_larger_than_the_most() -> None:
    store = Store()
    commands = list(range(1, 13))

    answers = together(GroupCommit(store, most=5), store, commands)

    assert answers == [2 * command for command in commands]
    assert [len(group) for group in store.groups] == [1, 5, 5, 1]
    assert [command for group in store.groups for command in group] == commands


def test_one_poisoned_command_spoils_no_other() -> None:
    store = Store()
    commands = [1, 2, -3, 4, 5]

    answers = together(GroupCommit(store, most=64), store, commands)

    assert [answers[i] for i in (0, 1, 3, 4)] == [2, 4, 8, 10]
    assert isinstance(answers[2], ValueError)
    assert answers[2].args == (-3,)
    assert store.groups == [[1], [2, -3, 4, 5], [2], [-3], [4], [5]]


def test_a_lone_poisoned_command_is_tried_once() -> None:
    store = Store()
    store.let_go.set()

    with pytest.raises(ValueError, match="-1"):
        GroupCommit(store, most=64)(-1)
    assert store.groups == [[-1]]


def test_after_a_failure_the_next_command_is_carried_out() -> None:
    store = Store()
    store.let_go.set()
    group = GroupCommit(store, most=64)
    with pytest.raises(ValueError, match="-1"):
        group(-1)

    assert group(1) == 2


def test_a_carrier_that_answers_too_few_is_an_error_for_everybody_and_nobody_waits_for_ever() -> None:
    group: GroupCommit[int, int] = GroupCommit(lambda _commands: [], most=64)

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(group, i) for i in range(4)]
        errors = [future.exception(PATIENCE_SECONDS) for future in futures]

    assert [type(error) for error in errors] == [ValueError] * 4


def test_what_ends_the_leaders_thread_is_told_to_the_others_too() -> None:
    entered, let_go = threading.Event(), threading.Event()

    def exit_(_commands: Sequence[int]) -> list[int]:
        entered.set()
        assert let_go.wait(PATIENCE_SECONDS)
        raise SystemExit

    group: GroupCommit[int, int] = GroupCommit(exit_, most=64)
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(group, i) for i in range(4)]
        assert entered.wait(PATIENCE_SECONDS)
        let_go.set()
        errors = [future.exception(PATIENCE_SECONDS) for future in futures]

    assert [type(error) for error in errors] == [SystemExit] * 4


def test_many_threads_get_every_answer_right() -> None:
    def carry_out(commands: Sequence[int]) -> list[int]:
        if any(command % 17 == 0 for command in commands):
            raise ValueError
        return [command + 1 for command in commands]

    group: GroupCommit[int, int] = GroupCommit(carry_out, most=8)

    def call(command: int) -> int | None:
        try:
            return group(command)
        except ValueError:
            return None

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(call, range(1000)))

    assert answers == [None if command % 17 == 0 else command + 1 for command in range(1000)]
