"""Logs are events with keys: JSON lines, or coloured text on a terminal."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from typing import TYPE_CHECKING

import structlog

from chassis import trace

if TYPE_CHECKING:
    from sys import UnraisableHookArgs
    from types import TracebackType

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
    renderer = structlog.dev.ConsoleRenderer() if on_terminal else structlog.processors.JSONRenderer(ensure_ascii=False)
    rendering: list[Processor] = [_traceback, renderer]
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    _configure_libraries(shared, rendering)
    sys.excepthook = _log_uncaught
    sys.unraisablehook = _log_unraisable
    threading.excepthook = lambda arguments: _log_uncaught(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)


def _log_uncaught(kind: type[BaseException], error: BaseException | None, frames: TracebackType | None) -> None:
    """Log what ends the process or a thread; Python's own hooks would print its text, see `_traceback`."""
    if issubclass(kind, KeyboardInterrupt):
        # Without the exception's context, which may be a database error with personal data.
        sys.__excepthook__(kind, kind(), frames)
    else:
        structlog.get_logger().critical("uncaught", exc_info=error)


def _log_unraisable(failed: UnraisableHookArgs) -> None:
    """Log an exception that Python cannot raise, for example from a destructor."""
    structlog.get_logger().error("unraisable", exc_info=failed.exc_value)


def _only_first_line(record: logging.LogRecord) -> bool:
    """Keep the first line of a message: asyncio appends the representation of the failed task, and with it the text of its exception."""
    record.msg, record.args = record.getMessage().partition("\n")[0], None
    return True


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
    logging.getLogger("asyncio").addFilter(_only_first_line)


def _traceback(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Render an exception as its frames and types.

    A frame is its file, line and function, without the source line: Python 3.13 also shows it for code that has no file.
    Its text stays away, since a database's holds the row that it complains of. What the operating system says, of files and addresses,
    may stay, and what an exception says whose class declares `text_is_public = True`, since it speaks of configuration alone.
    """
    raised = event.pop("exc_info", None)
    if raised is True:
        raised = sys.exc_info()[1]
    if isinstance(raised, tuple):
        raised = raised[1]
    if isinstance(raised, BaseException):
        chain = []
        while raised is not None:
            state = getattr(raised, "sqlstate", None)
            public = isinstance(raised, OSError) or getattr(raised, "text_is_public", False)
            said = f": {raised}" if public else ""
            chain.append(type(raised).__qualname__ + (f" (SQLSTATE {state})" if state else said))
            event.setdefault("frames", _frames(raised.__traceback__))
            raised = raised.__cause__ or raised.__context__
        event["exception"] = " from ".join(chain)
    return event


def _frames(frames: TracebackType | None) -> list[str]:
    summary = traceback.StackSummary.extract(traceback.walk_tb(frames), lookup_lines=False)
    return [f'File "{frame.filename}", line {frame.lineno}, in {frame.name}' for frame in summary]


def _origin(service: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["service"] = service
        trace_id = trace.current_id()
        if trace_id is not None:
            event["trace_id"] = trace_id
        return event

    return add
