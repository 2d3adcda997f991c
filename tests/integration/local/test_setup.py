"""`make setup` and `make clean`: a failure stops, an incomplete environment is recreated, data are kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.lock import DirectoryLock

_ROOT = Path(__file__).parents[3]
_HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
_LOCK = "paidan-is-not-there==1 --hash=sha256:" + "0" * 64 + "\n"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files that set-up reads, with a lock that no registry can serve."""
    directory = tmp_path / "有 空格"
    (directory / "tools").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "tools/find_python.sh", "tools/make_venv.sh"):
        shutil.copy(_ROOT / name, directory / name)
    (directory / "requirements.lock").write_text(_LOCK)
    return directory


def make(clone: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHON", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}
    environment |= {"PIP_NO_INDEX": "1", "LC_ALL": "C.UTF-8"} | variables
    return subprocess.run(["make", *arguments], cwd=clone, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_a_package_that_cannot_be_installed_stops_set_up_and_nothing_counts_as_ready(clone: Path) -> None:
    done = make(clone, "setup", PYTHON=sys.executable)

    assert done.returncode != 0
    assert "paidan-is-not-there" in done.stderr
    assert "hatchling" not in done.stderr, "set-up went on after the failure"
    assert not (clone / ".venv" / ".ready").exists()


def test_an_environment_that_was_cut_short_is_made_anew(clone: Path) -> None:
    broken_pip = clone / ".venv" / "lib" / f"python{_HERE}" / "site-packages" / "pip" / "__init__.py"
    broken_pip.parent.mkdir(parents=True)
    broken_pip.write_text("cut sho")

    done = make(clone, "setup", PYTHON=sys.executable)

    assert "paidan-is-not-there" in done.stderr, "pip itself works again"
    assert "cut sho" not in done.stderr
    assert done.returncode != 0


def test_a_machine_without_a_supported_python_hears_which_ones_and_what_to_install(clone: Path, tmp_path: Path) -> None:
    old = tmp_path / "bin" / "python3.9"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho it is Python 3.9 >&2\nexit 1\n")
    old.chmod(0o755)

    done = make(clone, "setup", PYTHON=str(old))

    assert done.returncode != 0
    assert "Python 3.11, 3.12 or 3.13 with venv is needed" in done.stderr
    assert f"{old}: it is Python 3.9" in done.stderr
    assert "apt-get install python3.11 python3.11-venv" in done.stderr
    assert "apt-get install python3.13 python3.13-venv" in done.stderr
    assert not (clone / ".venv").exists()


def test_clean_keeps_the_data_of_up_and_says_so(clone: Path) -> None:
    data = clone / ".local" / "up" / "postgres"
    data.mkdir(parents=True)
    (clone / "build").mkdir()

    done = make(clone, "clean")

    assert done.returncode == 0
    assert data.exists()
    assert not (clone / "build").exists()
    assert "`make clean-data` deletes it" in done.stdout


def test_clean_data_deletes_the_data_unless_they_are_in_use(clone: Path) -> None:
    data = clone / ".local" / "up"
    with DirectoryLock(data).held():
        refused = make(clone, "clean-data")
        kept = data.exists()

    done = make(clone, "clean-data")

    assert refused.returncode != 0
    assert "in use" in refused.stderr
    assert kept
    assert done.returncode == 0
    assert not data.exists()
