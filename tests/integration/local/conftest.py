"""Real parts for these tests: one of each for the whole session, for those that only need some server."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.cache import cache_root, kafka_jars
from deploy.local.kafka import LocalKafka
from deploy.local.postgres import LocalPostgres


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    with LocalKafka(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPostgres]:
    with LocalPostgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def filled_cache() -> Path:
    """The default cache, filled: tests copy it and spoil the copy."""
    kafka_jars()
    return cache_root()


@pytest.fixture
def processes_in() -> Callable[[Path], list[str]]:
    """Find the living processes that name a directory in their command line or have their working directory in it."""
    if sys.platform != "linux":
        pytest.skip("reads /proc")
    return _processes_in


def _processes_in(directory: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            place = (entry / "cwd").readlink()
        except OSError:  # gone meanwhile, or a zombie
            continue
        if str(directory) in command or place.is_relative_to(directory):
            found.append(f"{entry.name} {command}")
    return found
