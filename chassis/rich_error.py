"""Rich errors: what a refusal looks like on the wire (https://google.aip.dev/193)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from chassis import trace
from chassis.refusal import Refusal, RefusalKind
from chassis.transient import is_transient

if TYPE_CHECKING:
    from collections.abc import Sequence

    import grpc
    from google.protobuf.message import Message

log = structlog.get_logger()

COMMON_DOMAIN = "paidan"
_RETRY_AFTER = timedelta(seconds=1)
_COMMON_REASONS = frozenset(
    {"UNAUTHENTICATED", "ROLE_NOT_ALLOWED", "OVERLOADED", "STORE_UNAVAILABLE", "DEADLINE_OVER", "INTERNAL"},
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
    details: Sequence[Message] = [
        error_details_pb2.ErrorInfo(reason=refusal.reason, domain=domain, metadata=refusal.metadata),
        *_bad_request(refusal),
        *_retry_info(refusal),
    ]
    packed = []
    for detail in details:
        container = any_pb2.Any()
        container.Pack(detail)
        packed.append(container)
    return status_pb2.Status(code=_CODES[refusal.kind], message=refusal.message, details=packed)


def _bad_request(refusal: Refusal) -> list[error_details_pb2.BadRequest]:
    if not refusal.violations:
        return []
    violations = [
        error_details_pb2.BadRequest.FieldViolation(field=violation.field, description=violation.description)
        for violation in refusal.violations
    ]
    return [error_details_pb2.BadRequest(field_violations=violations)]


def _retry_info(refusal: Refusal) -> list[error_details_pb2.RetryInfo]:
    """Return when to come back. `UNAVAILABLE` always says so: its meaning is that the same call may succeed later."""
    retry_after = refusal.retry_after
    if retry_after is None and refusal.kind is RefusalKind.UNAVAILABLE:
        retry_after = _RETRY_AFTER
    if retry_after is None:
        return []
    delay = duration_pb2.Duration()
    delay.FromTimedelta(retry_after)
    return [error_details_pb2.RetryInfo(retry_delay=delay)]
