"""Points at which a fault test kills the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

PROGRAM = """
from chassis import failpoint
for i in range(5):
    failpoint.reach("other.point")
    failpoint.reach("this.point")
    print(i, flush=True)
"""


def run(value: str | None) -> tuple[int, str]:
    environment = {name: held for name, held in os.environ.items() if name != "PAIDAN_FAILPOINT"}
    if value is not None:
        environment["PAIDAN_FAILPOINT"] = value
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout.replace("\n", "")


@pytest.mark.parametrize(("value", "passed"), [("this.point", ""), ("this.point:1", ""), ("this.point:3", "01"), ("other.point:2", "0")])
def test_the_process_dies_the_nth_time_it_comes_to_its_point(value: str, passed: str) -> None:
    assert run(value) == (-signal.SIGKILL, passed)


@pytest.mark.parametrize("value", [None, "", "this", "point", "this.point:6"])
def test_otherwise_it_passes(value: str | None) -> None:
    assert run(value) == (0, "01234")
