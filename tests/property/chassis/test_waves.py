"""The relay's waves: every row once, a key at most once in a wave, each key in order."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from chassis.outbox import _waves


@dataclass(frozen=True)
class Row:
    seq: int
    aggregateid: str


batches = st.lists(st.sampled_from("abcdef"), max_size=60).map(lambda keys: [Row(seq, key) for seq, key in enumerate(keys)])


@given(batches)
def test_every_row_is_in_one_wave(rows: list[Row]) -> None:
    waves = list(_waves(rows))

    assert sorted((row for wave in waves for row in wave), key=lambda row: row.seq) == rows
    assert all(waves), "an empty wave would wait for nothing"


@given(batches)
def test_a_wave_holds_a_key_once_at_most(rows: list[Row]) -> None:
    for wave in _waves(rows):
        keys = [row.aggregateid for row in wave]
        assert len(keys) == len(set(keys))


@given(batches)
def test_one_wave_after_the_other_every_key_keeps_its_order(rows: list[Row]) -> None:
    sent = [row for wave in _waves(rows) for row in wave]

    for key in set("abcdef"):
        of_key = [row.seq for row in sent if row.aggregateid == key]
        assert of_key == sorted(of_key)


@given(batches)
def test_there_are_no_more_waves_than_the_longest_key_needs(rows: list[Row]) -> None:
    keys = [row.aggregateid for row in rows]

    assert len(list(_waves(rows))) == max((keys.count(key) for key in keys), default=0)
