"""What the relay sends of the ready rows, and what has to wait: by topics in backoff and by earlier rows of the key."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chassis.relay import _split
from tests.property.chassis.test_waves import Row, batches, rows_of

waiting_rows = st.lists(st.tuples(st.integers(-5, 40), rows_of), max_size=4).map(lambda rows: [Row(seq, *row) for seq, row in rows])
topics_in_backoff = st.sets(st.sampled_from(["x", "y", "z"]))


def _waits_for(row: Row, earlier: Row) -> bool:
    return (
        earlier.seq < row.seq
        and earlier.aggregateid == row.aggregateid
        and (earlier.type != row.type or earlier.aggregatetype == row.aggregatetype)
    )


@given(batches, topics_in_backoff, waiting_rows)
def test_every_row_goes_or_waits_and_both_keep_their_order(rows: list[Row], topics: set[str], waiting: list[Row]) -> None:
    free, parked = _split(rows, topics, waiting)

    assert sorted([*free, *parked], key=lambda row: row.seq) == rows
    assert [row.seq for row in free] == sorted(row.seq for row in free)
    assert [row.seq for row in parked] == sorted(row.seq for row in parked)


@given(batches, topics_in_backoff, waiting_rows)
def test_no_row_goes_to_a_topic_in_backoff_or_past_an_earlier_row_of_its_key(rows: list[Row], topics: set[str], waiting: list[Row]) -> None:
    free, parked = _split(rows, topics, waiting)

    for row in free:
        assert row.aggregatetype not in topics
        assert not any(_waits_for(row, earlier) for earlier in [*waiting, *parked])


@given(batches, topics_in_backoff, waiting_rows)
def test_no_row_waits_without_a_reason(rows: list[Row], topics: set[str], waiting: list[Row]) -> None:
    _, parked = _split(rows, topics, waiting)

    for row in parked:
        assert row.aggregatetype in topics or any(_waits_for(row, earlier) for earlier in [*waiting, *parked])


@given(batches)
def test_a_topic_in_backoff_holds_back_no_key_that_has_no_row_on_it(rows: list[Row]) -> None:
    _, parked = _split(rows, {"x"})

    assert {row.aggregateid for row in parked} <= {row.aggregateid for row in rows if row.aggregatetype == "x"}
