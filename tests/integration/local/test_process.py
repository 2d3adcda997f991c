"""The guard: no program outlives whoever started it, and signals go where they should."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from deploy.local.errors import InUseError, LocalPartError
from deploy.local.lock import DirectoryLock
from deploy.local.process import ManagedProcess, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

Shell = Callable[[str], ManagedProcess]

_SOON = timedelta(seconds=5)

_PARENT = """
import os, sys, time
from pathlib import Path
from deploy.local.process import ManagedProcess

process = ManagedProcess("sleeper", ["sleep", "60"], None, Path(sys.argv[1]))
process.start()
print(process.pid, flush=True)
if sys.argv[2] == "and-fork" and os.fork() == 0:
    time.sleep(60)
time.sleep(60)
"""


def _gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def _eventually(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _SOON.total_seconds()
    while not holds():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    started: list[ManagedProcess] = []

    def start(script: str) -> ManagedProcess:
        process = ManagedProcess("script", ["sh", "-c", script], None, tmp_path / "log")
        started.append(process)
        process.start()
        return process

    yield start
    for process in started:
        process.kill()


@pytest.mark.parametrize("and_fork", ["alone", "and-fork"])
def test_a_program_dies_with_the_parent_that_is_killed(tmp_path: Path, and_fork: str) -> None:
    command = [sys.executable, "-c", _PARENT, str(tmp_path / "log"), and_fork]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0) as parent:
        assert parent.stdout is not None
        program = int(parent.stdout.readline())
        assert not _gone(program)

        parent.kill()

        assert _eventually(lambda: _gone(program))
        os.killpg(parent.pid, signal.SIGKILL)


def test_a_program_dies_with_its_guard(shell: Shell) -> None:
    process = shell("exec sleep 60")
    guard = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[1])

    os.kill(guard, signal.SIGKILL)

    assert _eventually(lambda: _gone(process.pid))


def test_a_program_outlives_the_thread_that_started_it(shell: Shell) -> None:
    started: list[ManagedProcess] = []
    thread = threading.Thread(target=lambda: started.append(shell("exec sleep 60")))

    thread.start()
    thread.join()
    time.sleep(0.1)

    assert started[0].alive


def test_a_kill_takes_the_children_of_the_program_along(shell: Shell, tmp_path: Path) -> None:
    process = shell(f"sleep 60 & echo $! > {tmp_path / 'child'}; wait")
    assert _eventually(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text().endswith("\n"))

    process.kill()

    assert process.returncode == -signal.SIGKILL
    assert _eventually(lambda: _gone(int((tmp_path / "child").read_text())))


def test_a_lock_that_is_handed_over_stays_until_the_program_has_ended(tmp_path: Path) -> None:
    ours, others = DirectoryLock(tmp_path), DirectoryLock(tmp_path)
    ours.acquire()
    process = ManagedProcess("holder", ["sleep", "60"], None, tmp_path / "log", hold=[ours.fd])
    process.start()

    ours.release()

    with pytest.raises(InUseError):
        others.acquire()
    process.kill()
    others.acquire()
    others.release()


def test_a_program_gets_none_of_our_descriptors(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    lock.acquire()
    process = ManagedProcess("lister", ["sh", "-c", "echo /proc/$$/fd/*"], None, tmp_path / "log", hold=[lock.fd])

    process.start()

    assert _eventually(lambda: not process.alive)
    assert f"fd/{lock.fd}" not in process.tail()
    assert "fd/2" in process.tail()
    process.kill()
    lock.release()


def test_a_kill_right_after_the_start_finds_its_program(tmp_path: Path) -> None:
    process = ManagedProcess("sleeper", ["sleep", "60"], None, tmp_path / "log")

    for _ in range(20):
        process.start()
        process.kill()

    assert process.returncode == -signal.SIGKILL


def test_a_stop_is_a_request_that_the_program_can_answer(shell: Shell) -> None:
    process = shell("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done")
    wait_until(lambda: "up" in process.tail(), _SOON, "sign of life", process)

    process.stop(_SOON)

    assert process.returncode == 0
    assert process.tail() == "up\nbye"


def test_a_stop_kills_a_program_that_does_not_answer(shell: Shell) -> None:
    process = shell("trap '' TERM; echo up; while :; do sleep 0.01; done")
    wait_until(lambda: "up" in process.tail(), _SOON, "sign of life", process)

    process.stop(timedelta(seconds=0.2))

    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -TERM $$", -signal.SIGTERM)])
def test_the_exit_code_is_the_programs_own(shell: Shell, script: str, code: int) -> None:
    process = shell(script)

    assert _eventually(lambda: not process.alive)
    assert process.returncode == code


def test_a_program_can_be_started_again_and_its_tail_is_that_of_the_last_run(shell: Shell) -> None:
    process = shell("echo $$")
    assert _eventually(lambda: not process.alive)
    first = process.tail()

    process.start()

    assert _eventually(lambda: not process.alive)
    assert process.tail() != first
    assert process.log_path.read_text().split() == [first, process.tail()]


def test_waiting_ends_with_the_log_when_the_program_dies(shell: Shell) -> None:
    process = shell("echo the reason; exit 7")

    with pytest.raises(LocalPartError) as caught:
        wait_until(lambda: False, timedelta(minutes=1), "answer", process)

    assert caught.value.part == "script"
    assert caught.value.problem == "ended with code 7 before there was answer"
    assert caught.value.log_tail == "the reason"


def test_the_reason_is_shown_even_when_much_is_written_after_it(shell: Shell) -> None:
    process = shell("echo begin; echo ERROR the reason; seq 1000; exit 1")

    with pytest.raises(LocalPartError) as caught:
        wait_until(lambda: False, timedelta(minutes=1), "answer", process)

    assert caught.value.log_tail.splitlines()[:2] == ["ERROR the reason", "1"]
    assert len(caught.value.log_tail.splitlines()) == 30


def test_waiting_ends_when_the_time_is_over(shell: Shell) -> None:
    process = shell("exec sleep 60")

    with pytest.raises(LocalPartError, match=r"no answer within 0\.1 s"):
        wait_until(lambda: False, timedelta(seconds=0.1), "answer", process)


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    process = ManagedProcess("ghost", ["no-such-program"], None, tmp_path / "log")

    process.start()

    with pytest.raises(LocalPartError, match="cannot run no-such-program"):
        wait_until(lambda: False, _SOON, "answer", process)
    process.kill()
