"""Rich errors: what a refusal looks like on the wire (https://google.aip.dev/193)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from chassis import trace
from chassis.refusal import Refusal, RefusalKind, Violation
from chassis.transient import is_transient

if TYPE_CHECKING:
    from collections.abc import Sequence

    import grpc
    from google.protobuf.message import Message

log = structlog.get_logger()

COMMON_DOMAIN = "paidan"
_RETRY_AFTER = timedelta(seconds=1)
_COMMON_REASONS = frozenset(
    {
        "UNAUTHENTICATED",
        "ROLE_NOT_ALLOWED",
        "OVERLOADED",
        "STORE_UNAVAILABLE",
        "DEADLINE_OVER",
        "INTERNAL",
        "MALFORMED_REQUEST",
        "STOPPING",
    },
)
_CODES = {
    RefusalKind.INVALID: code_pb2.INVALID_ARGUMENT,
    RefusalKind.NOT_FOUND: code_pb2.NOT_FOUND,
    RefusalKind.ALREADY_EXISTS: code_pb2.ALREADY_EXISTS,
    RefusalKind.CONFLICT: code_pb2.FAILED_PRECONDITION,
    RefusalKind.FORBIDDEN: code_pb2.PERMISSION_DENIED,
    RefusalKind.UNAUTHENTICATED: code_pb2.UNAUTHENTICATED,
    RefusalKind.EXHAUSTED: code_pb2.RESOURCE_EXHAUSTED,
    RefusalKind.UNAVAILABLE: code_pb2.UNAVAILABLE,
    RefusalKind.ABORTED: code_pb2.ABORTED,
    RefusalKind.DEADLINE: code_pb2.DEADLINE_EXCEEDED,
    RefusalKind.INTERNAL: code_pb2.INTERNAL,
}

# Clients take 8 KiB of trailers by default. These bounds keep a refusal below 6 kB on the wire: the message travels twice, once
# percent-encoded at up to 3 bytes for 1, and the details in base64 at 4 for 3.
_MOST_MESSAGE_BYTES = 384
_MOST_VALUE_BYTES = 128
_MOST_VALUES = 4
_MOST_FIELD_BYTES = 128
_MOST_DESCRIPTION_BYTES = 256
_MOST_VIOLATIONS_BYTES = 1600
VIOLATIONS_LEFT_OUT = "violations_left_out"
"""Metadata key of the number of violations that a refusal omits for size."""


def status_of(refusal: Refusal, domain: str) -> grpc.Status:
    """Return the status that answers a refusal; `domain` is that of the service's own reasons."""
    status: grpc.Status = rpc_status.to_status(_rich(refusal, COMMON_DOMAIN if refusal.reason in _COMMON_REASONS else domain))
    return status


def refusal_of(method: str, error: Exception) -> Refusal:
    """Return the refusal that answers an error that the service does not know: the store is away, or it is a fault of ours."""
    if is_transient(error):
        log.warning("store_unavailable", method=method, error=type(error).__name__)
        return Refusal(
            RefusalKind.UNAVAILABLE,
            "STORE_UNAVAILABLE",
            "the store is out of reach; repeat the call with the same request_id",
            retry_after=_RETRY_AFTER,
        )
    log.error("rpc_failed", method=method, exc_info=error)
    trace_id = trace.current_id() or ""
    return Refusal(RefusalKind.INTERNAL, "INTERNAL", f"a fault of ours; it was logged as {trace_id}", metadata={"trace_id": trace_id})


def _rich(refusal: Refusal, domain: str) -> status_pb2.Status:
    violations = _fitting(refusal.violations)
    left_out = len(refusal.violations) - len(violations)
    metadata = {key: _cut(value, _MOST_VALUE_BYTES) for key, value in list(refusal.metadata.items())[:_MOST_VALUES]}
    rest = ""
    if left_out:
        metadata[VIOLATIONS_LEFT_OUT] = str(left_out)
        rest = f" … and {left_out} more"
    details: Sequence[Message] = [
        error_details_pb2.ErrorInfo(reason=refusal.reason, domain=domain, metadata=metadata),
        *_bad_request(violations),
        *_retry_info(refusal),
    ]
    packed = []
    for detail in details:
        container = any_pb2.Any()
        container.Pack(detail)
        packed.append(container)
    message = _cut(refusal.message, _MOST_MESSAGE_BYTES - len(rest.encode())) + rest
    return status_pb2.Status(code=_CODES[refusal.kind], message=message, details=packed)


def _cut(text: str, most: int) -> str:
    """Return a text of at most `most` bytes of UTF-8; an ellipsis marks a cut."""
    data = text.encode(errors="replace")
    if len(data) <= most:
        return data.decode()
    return data[: most - len("…".encode())].decode(errors="ignore") + "…"


def _fitting(violations: Sequence[Violation]) -> list[Violation]:
    """Return the first violations that fit into the size limit, each cut to its own limit."""
    fitting: list[Violation] = []
    room = _MOST_VIOLATIONS_BYTES
    for violation in violations:
        cut = Violation(_cut(violation.field, _MOST_FIELD_BYTES), _cut(violation.description, _MOST_DESCRIPTION_BYTES))
        room -= len(cut.field.encode()) + len(cut.description.encode())
        if room < 0:
            break
        fitting.append(cut)
    return fitting


def _bad_request(violations: Sequence[Violation]) -> list[error_details_pb2.BadRequest]:
    if not violations:
        return []
    return [
        error_details_pb2.BadRequest(
            field_violations=[
                error_details_pb2.BadRequest.FieldViolation(field=violation.field, description=violation.description)
                for violation in violations
            ]
        )
    ]


def _retry_info(refusal: Refusal) -> list[error_details_pb2.RetryInfo]:
    """Return the delay before a retry. `UNAVAILABLE` always has one: the same call may succeed later."""
    retry_after = refusal.retry_after
    if retry_after is None and refusal.kind is RefusalKind.UNAVAILABLE:
        retry_after = _RETRY_AFTER
    if retry_after is None:
        return []
    delay = duration_pb2.Duration()
    delay.FromTimedelta(retry_after)
    return [error_details_pb2.RetryInfo(retry_delay=delay)]
