"""Whatever fails, each command of a group gets its own answer, and none is carried out twice in effect."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.group_commit import GroupCommit

if TYPE_CHECKING:
    from collections.abc import Sequence


class Bad(Exception):
    pass


commands = st.lists(st.booleans(), min_size=1, max_size=40).map(lambda bad: [(i, each) for i, each in enumerate(bad)])


@settings(max_examples=40, deadline=None)
@given(commands, st.integers(min_value=1, max_value=10), st.integers(min_value=1, max_value=12))
def test_each_command_gets_its_own_answer_and_has_its_effect_once(wanted: list[tuple[int, bool]], most: int, threads: int) -> None:
    effects: list[int] = []

    def carry_out(group: Sequence[tuple[int, bool]]) -> list[int]:
        assert 1 <= len(group) <= most
        if any(bad for _, bad in group):
            raise Bad([number for number, bad in group if bad])
        effects.extend(number for number, _ in group)
        return [number * 10 for number, _ in group]

    group: GroupCommit[tuple[int, bool], int] = GroupCommit(carry_out, most=most, pace=timedelta(0))

    def call(command: tuple[int, bool]) -> int | list[int]:
        try:
            return group.submit(command).result(20)
        except Bad as error:
            return list(error.args[0])

    stop = threading.Event()
    with ThreadPoolExecutor(threads + 1) as pool:
        pool.submit(group.run, stop)
        answers = list(pool.map(call, wanted))
        stop.set()

    assert answers == [[number] if bad else number * 10 for number, bad in wanted]
    assert sorted(effects) == [number for number, bad in wanted if not bad]
