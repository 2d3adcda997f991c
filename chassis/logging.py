"""Logs are events with keys: JSON lines, or coloured text on a terminal."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import TYPE_CHECKING

import structlog

from chassis import trace

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger


def configure(*, service: str, level: str = "INFO") -> None:
    """Send all logs of the process to standard error, one event a line, with service, trace id and UTC time."""
    on_terminal = sys.stderr.isatty()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _origin(service),
    ]
    rendering: list[Processor] = (
        [structlog.dev.ConsoleRenderer()] if on_terminal else [_traceback, structlog.processors.JSONRenderer(ensure_ascii=False)]
    )
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    _configure_libraries(shared, rendering)


def _configure_libraries(shared: list[Processor], rendering: list[Processor]) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        ),
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    # The Kafka client's DEBUG lines print keys and values; its errors repeat while a broker is away, which our own events say.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)


def _traceback(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Render an exception as its frames and types. Its text stays away: a database's holds the row that it complains of."""
    raised = event.pop("exc_info", None)
    if raised is True:
        raised = sys.exc_info()[1]
    if isinstance(raised, tuple):
        raised = raised[1]
    if isinstance(raised, BaseException):
        chain = []
        while raised is not None:
            state = getattr(raised, "sqlstate", None)
            chain.append(f"{type(raised).__qualname__}" + (f" (SQLSTATE {state})" if state else ""))
            event.setdefault("frames", traceback.format_tb(raised.__traceback__))
            raised = raised.__cause__ or raised.__context__
        event["exception"] = " from ".join(chain)
    return event


def _origin(service: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["service"] = service
        trace_id = trace.current_id()
        if trace_id is not None:
            event["trace_id"] = trace_id
        return event

    return add
