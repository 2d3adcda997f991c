"""W3C trace context, from door to door."""

from __future__ import annotations

import re
import threading

import pytest

from chassis import trace

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_outside_any_trace_there_is_none() -> None:
    assert trace.current() is None
    assert trace.current_id() is None


def test_a_trace_goes_on_under_its_id_with_a_span_of_our_own() -> None:
    with trace.continue_from(PARENT):
        version, trace_id, span_id, flags = (trace.current() or "").split("-")

        assert (version, trace_id, flags) == ("00", "0af7651916cd43dd8448eb211c80319c", "01")
        assert span_id != "b7ad6b7169203331"
        assert trace.current_id() == trace_id


def test_what_was_not_sampled_stays_so() -> None:
    with trace.continue_from(PARENT[:-2] + "00"):
        assert (trace.current() or "").endswith("-00")


@pytest.mark.parametrize(
    "malformed",
    [
        None,
        "",
        "nonsense",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01\x00",
        "x" * 100_000,
    ],
    ids=lambda value: str(value)[:20],
)
def test_without_a_trace_that_holds_a_new_one_begins(malformed: str | None) -> None:
    with trace.continue_from(malformed):
        first = trace.current()
    with trace.continue_from(malformed):
        second = trace.current()

    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", first or "")
    assert (first or "")[3:35] != (second or "")[3:35]


def test_traces_nest_and_end_with_their_block_also_on_an_error() -> None:
    with trace.continue_from(PARENT):
        outer = trace.current()
        with pytest.raises(ZeroDivisionError), trace.continue_from(None):
            raise ZeroDivisionError

        assert trace.current() == outer
    assert trace.current() is None


def test_another_thread_is_in_no_trace_of_ours() -> None:
    seen: list[str | None] = []

    with trace.continue_from(PARENT):
        thread = threading.Thread(target=lambda: seen.append(trace.current()))
        thread.start()
        thread.join()

    assert seen == [None]
