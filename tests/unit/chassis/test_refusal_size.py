"""For any request, a refusal fits into the trailers that clients accept."""

from __future__ import annotations

import base64
import urllib.parse
from datetime import timedelta

import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from chassis.refusal import Refusal, RefusalKind, Violation
from chassis.rich_error import _rich

MOST_BYTES = 6000


def size(status: status_pb2.Status) -> int:
    """Bytes of the trailers: the message percent-encoded, and the details in base64."""
    trailers = {
        "grpc-message": urllib.parse.quote(status.message),
        "grpc-status-details-bin": base64.b64encode(status.SerializeToString()).decode(),
        "grpc-status": "13",
    }
    return sum(len(name) + len(value) + 32 for name, value in trailers.items())


def read(status: status_pb2.Status) -> tuple[error_details_pb2.ErrorInfo, error_details_pb2.BadRequest]:
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        for kind in (info, bad):
            if detail.Is(kind.DESCRIPTOR):
                detail.Unpack(kind)
    return info, bad


@given(st.lists(st.builds(Violation, st.text(max_size=300), st.text(max_size=600)), max_size=60), st.text(max_size=2000))
def test_any_refusal_is_small(violations: list[Violation], text: str) -> None:
    metadata = {f"key{n}": text for n in range(9)}
    refusal = Refusal(RefusalKind.INVALID, "REASON", text, metadata=metadata, violations=violations, retry_after=timedelta(seconds=1))

    assert size(_rich(refusal, "probe.paidan")) < MOST_BYTES


@pytest.mark.parametrize("word", ["x", "工", "😀", "\ud800"])
def test_the_largest_refusal_is_small(word: str) -> None:
    long = word * 20_000
    refusal = Refusal.of_fields([Violation(long, long)] * 1000)

    assert size(_rich(refusal, "dispatcher.paidan")) < MOST_BYTES


def test_how_many_violations_are_left_out_is_told() -> None:
    refusal = Refusal.of_fields([Violation(f"pauses[{n}].pause_time", "is out of range, must be in 1992–2199") for n in range(100)])

    status = _rich(refusal, "sla.paidan")
    info, bad = read(status)

    kept = len(bad.field_violations)
    assert kept > 20
    assert info.metadata["violations_left_out"] == str(100 - kept)
    assert status.message.endswith(f"… and {100 - kept} more")
    assert [each.field for each in bad.field_violations] == [f"pauses[{n}].pause_time" for n in range(kept)]


def test_what_is_cut_off_is_marked() -> None:
    refusal = Refusal(RefusalKind.NOT_FOUND, "NOTHING", "工" * 20_000, metadata={"id": "x" * 20_000})

    status = _rich(refusal, "probe.paidan")
    info, _ = read(status)

    assert status.message.endswith("工…")
    assert info.metadata["id"].endswith("x…")
    assert "violations_left_out" not in info.metadata


def test_a_refusal_of_the_usual_size_is_sent_as_it_is() -> None:
    refusal = Refusal.of_fields(
        [Violation("enterprise.uscc", "check character 18 is D, should be 3"), Violation("text", "must not be empty")]
    )

    status = _rich(refusal, "intake.paidan")
    info, bad = read(status)

    assert status.message == "enterprise.uscc check character 18 is D, should be 3; text must not be empty"
    assert dict(info.metadata) == {}
    assert [(each.field, each.description) for each in bad.field_violations] == [
        ("enterprise.uscc", "check character 18 is D, should be 3"),
        ("text", "must not be empty"),
    ]
