"""What a refused call must say."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def refused(code: grpc.StatusCode, reason: str) -> Iterator[None]:
    """Expect a call to be refused with a code and a documented reason."""
    with pytest.raises(grpc.RpcError) as caught:
        yield
    assert caught.value.code() is code, caught.value.details()
    assert _reason(caught.value) == reason


def _reason(error: grpc.RpcError) -> str:
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    return next((info.reason for detail in (status.details if status else ()) if detail.Unpack(info)), "")


def retry_after(error: grpc.RpcError) -> float | None:
    """Return the delay in the `RetryInfo` of a status, in seconds; None without `RetryInfo`."""
    status = rpc_status.from_call(error)
    info = error_details_pb2.RetryInfo()
    return next(
        (info.retry_delay.ToTimedelta().total_seconds() for detail in (status.details if status else ()) if detail.Unpack(info)), None
    )
