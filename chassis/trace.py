"""W3C trace context, carried from door to door."""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import context, trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from collections.abc import Iterator

# Ids need to differ, not to be unguessable; the system's randomness costs a system call each.
_IDS = random.Random()  # noqa: S311 - see above
_PROPAGATOR = TraceContextTextMapPropagator()
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


@contextmanager
def continue_from(traceparent: str | None) -> Iterator[None]:
    """Work inside the trace that `traceparent` names; start a new one when it is missing or malformed."""
    ambient = _PROPAGATOR.extract({"traceparent": traceparent or ""}, context=context.Context())
    parent = trace.get_current_span(ambient).get_span_context()
    span = SpanContext(
        trace_id=parent.trace_id or _IDS.getrandbits(128),
        span_id=_IDS.getrandbits(64),
        is_remote=False,
        trace_flags=parent.trace_flags if parent.is_valid else _SAMPLED,
    )
    token = context.attach(trace.set_span_in_context(NonRecordingSpan(span), context.Context()))
    try:
        yield
    finally:
        context.detach(token)


def current() -> str | None:
    """Return the `traceparent` of the work under way, or None outside any trace."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")


def current_id() -> str | None:
    """Return the trace id of the work under way as 32 hex digits, or None outside any trace."""
    span = trace.get_current_span().get_span_context()
    return f"{span.trace_id:032x}" if span.is_valid else None
