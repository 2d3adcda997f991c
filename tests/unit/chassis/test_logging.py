"""Logs are events with keys, and never hold what a database quotes of its rows."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

PHONE, NAME = "19912345678", "欧阳明"

PROGRAM = """
import logging as stdlib, sys, threading, warnings
import psycopg, structlog, sqlalchemy.exc
from chassis import logging, trace

logging.configure(service="probe")
log = structlog.get_logger()

def database_error():
    try:
        raise psycopg.errors.NotNullViolation("null value\\nDETAIL:  Failing row contains ({name}, {phone}).")
    except psycopg.Error as error:
        raise sqlalchemy.exc.IntegrityError("INSERT INTO contact", {{"phone": "{phone}"}}, error) from error

def wrapped():
    try:
        database_error()
    except Exception:  # the program under test, which wraps an error as careless code does
        raise ValueError("bad row {name} {phone}")

try:
    wrapped()
except ValueError as error:
    caught = error

{body}
"""


def run(body: str, *, on_terminal: bool = False) -> tuple[int, str]:
    program = PROGRAM.format(name=NAME, phone=PHONE, body=body)
    if not on_terminal:
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", program], stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    try:
        while part := os.read(ours, 65536):
            said += part
    except OSError:  # the terminal of a process that ended
        pass
    os.close(ours)
    return process.wait(60), said.decode(errors="replace")


WAYS = {
    "exception()": "try:\n    wrapped()\nexcept ValueError:\n    log.exception('failed')",
    "exc_info": "log.error('failed', exc_info=caught)",
    "exc_info as tuple": "log.error('failed', exc_info=(type(caught), caught, caught.__traceback__))",
    "standard library": "stdlib.getLogger('library').error('failed', exc_info=caught)",
    "uncaught": "wrapped()",
    "unraisable": "class Bad:\n    def __del__(self):\n        wrapped()\nBad()",
    "task that nobody awaited": (
        "import asyncio\nasync def fail():\n    wrapped()\nasync def run():\n    asyncio.ensure_future(fail())\n"
        "    await asyncio.sleep(0)\nasyncio.run(run())"
    ),
    "uncaught in a thread": "thread = threading.Thread(target=wrapped)\nthread.start()\nthread.join()",
}


@pytest.mark.parametrize("on_terminal", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_a_database_error_never_brings_its_row_into_the_log(way: str, *, on_terminal: bool) -> None:
    code, said = run(WAYS[way], on_terminal=on_terminal)

    assert PHONE not in said
    assert NAME not in said
    assert "ValueError" in said
    assert "IntegrityError" in said
    assert "23502" in said, "the SQLSTATE helps to find the fault"
    assert "in wrapped" in said, "the frames help to find the fault"
    assert code == (1 if way == "uncaught" else 0)


def test_an_exception_that_speaks_of_configuration_alone_says_what_is_wrong() -> None:
    code, said = run("class Bad(Exception):\n    text_is_public = True\nraise Bad('row 7: no such unit')")

    assert code == 1
    assert "Bad: row 7: no such unit" in said


def events(body: str) -> list[dict[str, object]]:
    code, said = run(body)
    assert code == 0, said
    return [json.loads(line) for line in said.splitlines()]


def test_a_frame_is_file_line_and_function_without_source() -> None:
    (event,) = events(WAYS["exception()"])

    frames = event["frames"]
    assert isinstance(frames, list)
    assert frames[-1].startswith('File "<string>", line ')
    assert frames[-1].endswith(", in wrapped")
    assert all("\n" not in frame for frame in frames)


def test_an_event_is_one_line_of_json_with_service_level_and_utc_time() -> None:
    (event,) = events("log.info('ticket_stored', ticket_id='t-1', text='多行\\n文本')")

    assert {name: event[name] for name in ("event", "level", "service", "ticket_id", "text")} == {
        "event": "ticket_stored",
        "level": "info",
        "service": "probe",
        "ticket_id": "t-1",
        "text": "多行\n文本",
    }
    assert str(event["timestamp"]).endswith("Z")
    assert "trace_id" not in event


def test_inside_a_trace_every_event_carries_its_id() -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    ours, theirs = events(f"with trace.continue_from('{parent}'):\n    log.info('a')\n    stdlib.getLogger('library').warning('b')")

    assert ours["trace_id"] == theirs["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert (theirs["event"], theirs["service"]) == ("b", "probe")


def test_below_its_level_nothing_is_said_and_the_kafka_client_says_nothing_of_messages() -> None:
    body = "log.debug('a')\nstdlib.getLogger('library').info('b')\nstdlib.getLogger('kafka.producer').debug('key=1')\nlog.info('c')"

    assert [event["event"] for event in events(body)] == ["c"]


def test_what_the_operating_system_says_is_told() -> None:
    (event,) = events("try:\n    open('/nowhere/at/all')\nexcept OSError:\n    log.exception('failed')")

    assert event["exception"] == "FileNotFoundError: [Errno 2] No such file or directory: '/nowhere/at/all'"


def test_a_keyboard_interrupt_is_python_s_own_affair() -> None:
    code, said = run("raise KeyboardInterrupt")

    assert code != 0
    assert "KeyboardInterrupt" in said
    assert "uncaught" not in said


def test_a_keyboard_interrupt_while_a_database_error_is_handled_shows_nothing_of_the_row() -> None:
    code, said = run("try:\n    database_error()\nexcept Exception:\n    raise KeyboardInterrupt")

    assert code != 0
    assert "KeyboardInterrupt" in said
    assert PHONE not in said
