"""The relay's waves: every row once, one type of a key at a time and a topic once, each in order."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from chassis.relay import _waves


@dataclass(frozen=True)
class Row:
    seq: int
    aggregateid: str
    type: str
    aggregatetype: str


rows_of = st.tuples(st.sampled_from("abcdef"), st.sampled_from(["order", "news"]), st.sampled_from(["x", "y", "z"]))
batches = st.lists(rows_of, max_size=60).map(lambda rows: [Row(seq, *row) for seq, row in enumerate(rows)])


@given(batches)
def test_every_row_is_in_one_wave(rows: list[Row]) -> None:
    waves = _waves(rows)

    assert sorted((row for wave in waves for row in wave), key=lambda row: row.seq) == rows
    assert all(waves), "an empty wave would wait for nothing"


@given(batches)
def test_a_wave_holds_of_a_key_one_type_and_each_topic_once_at_most(rows: list[Row]) -> None:
    for wave in _waves(rows):
        for key in {row.aggregateid for row in wave}:
            of_key = [row for row in wave if row.aggregateid == key]
            assert len({row.type for row in of_key}) == 1
            assert len({row.aggregatetype for row in of_key}) == len(of_key)


@given(batches)
def test_one_wave_after_the_other_every_key_keeps_its_order(rows: list[Row]) -> None:
    sent = [row for wave in _waves(rows) for row in wave]

    for key in set("abcdef"):
        of_key = [row.seq for row in sent if row.aggregateid == key]
        assert of_key == sorted(of_key)


@given(batches)
def test_a_wave_more_is_begun_only_for_another_type_or_for_a_topic_again(rows: list[Row]) -> None:
    needed = 0
    for key in set("abcdef"):
        runs = [list(run) for _, run in groupby((row for row in rows if row.aggregateid == key), key=lambda row: row.type)]
        needed = max(needed, sum(_distinct_runs([row.aggregatetype for row in run]) for run in runs))

    assert len(_waves(rows)) == needed


def _distinct_runs(topics: list[str]) -> int:
    """Return into how many runs without repetition a sequence falls, taken greedily."""
    count, seen = 0, set(topics)
    for topic in topics:
        if count == 0 or topic in seen:
            count, seen = count + 1, set()
        seen.add(topic)
    return count
