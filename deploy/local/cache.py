"""Kafka's jars, kept between runs and checked against the hashes in the repository before each use.

$PAIDAN_CACHE_DIR, or ~/.cache/paidan/
  .lock                    held while jars are checked and fetched
  kafka-<key>/*.jar        the key is taken from SHA256SUMS: a new list gets a new directory
  kafka-<key>/.verified    size and modification time of each jar when its hash was last computed
"""

import hashlib
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from pathlib import Path

from deploy.local.errors import CacheMismatchError, LocalPartError
from deploy.local.lock import DirectoryLock
from deploy.local.tools import java_environment, require_maven

Progress = Callable[[str], None]

_PART = "kafka"
_MANIFEST_DIR = Path(__file__).with_name("kafka")
_PATIENCE_WITH_ANOTHER_RUN = timedelta(minutes=10)
_DOWNLOADED_JAR = re.compile(r"Downloaded from \S+ \S*/(\S+\.jar) (\(.*\))")


def ignore_progress(_line: str) -> None:
    """Do nothing with a line of progress."""


def cache_root() -> Path:
    """Return the directory for downloads: ``PAIDAN_CACHE_DIR``, else ``~/.cache/paidan``."""
    configured = os.environ.get("PAIDAN_CACHE_DIR")
    return Path(configured).absolute() if configured else Path.home() / ".cache" / "paidan"


def kafka_jars(on_progress: Progress = ignore_progress) -> list[Path]:
    """Return the jars of the broker, every one with the hash that ``kafka/SHA256SUMS`` lists.

    Absent or altered jars are fetched by Maven first. A jar whose size and modification time are as they were when its
    hash was last computed is not read again. Only listed jars are returned, whatever else lies in the directory.

    Args:
        on_progress: Gets a line for each thing that happens; none when all is there.

    Raises:
        CacheMismatchError: The hashes still differ after fetching afresh.
        LocalPartError: Maven failed; with the end of what it said.
        MissingToolError: Something has to be fetched and there is no Maven.
    """
    sums = (_MANIFEST_DIR / "SHA256SUMS").read_text("ascii")
    expected = {name: digest for digest, name in (line.split() for line in sums.splitlines())}
    root = cache_root()
    jars = root / f"kafka-{hashlib.sha256(sums.encode()).hexdigest()[:12]}"
    with DirectoryLock(root).held(_PATIENCE_WITH_ANOTHER_RUN):
        if wrong := _wrong_files(jars, expected):
            on_progress(f"{len(wrong)} of Kafka's {len(expected)} jars are absent or altered: fetching with Maven")
            _fill(jars, expected, on_progress)
    return [jars / name for name in expected]


def _wrong_files(directory: Path, expected: Mapping[str, str]) -> list[str]:
    """Return the names whose file is absent or has another hash, and renew the stamp of those that are right."""
    stamp = directory / ".verified"
    known: dict[str, list[int]] = json.loads(stamp.read_text()) if stamp.exists() else {}
    verified: dict[str, list[int]] = {}
    for name, digest in expected.items():
        file = directory / name
        if not file.exists():
            continue
        status = file.stat()
        traits = [status.st_size, status.st_mtime_ns]
        if known.get(name) == traits or _sha256(file) == digest:
            verified[name] = traits
    if verified != known and directory.exists():
        unfinished = stamp.with_suffix(".new")
        unfinished.write_text(json.dumps(verified))
        unfinished.replace(stamp)
    return [name for name in expected if name not in verified]


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _fill(jars: Path, expected: Mapping[str, str], on_progress: Progress) -> None:
    """Fetch into a directory beside the cache's and move over what is right only when all of it is.

    The second try has a Maven repository of its own, since the user's may be what holds the wrong file.
    """
    with tempfile.TemporaryDirectory(prefix="filling-", dir=jars.parent) as scratch:
        for attempt, options in enumerate(([], [f"-Dmaven.repo.local={scratch}/repository"])):
            fetched = Path(scratch) / f"jars-{attempt}"
            _copy_dependencies(fetched, options, on_progress)
            wrong = _wrong_files(fetched, expected)
            if not wrong:
                _put_in_place(fetched, jars, expected)
                return
            on_progress(f"not as listed in SHA256SUMS: {', '.join(wrong)}")
    raise CacheMismatchError(wrong)


def _put_in_place(fetched: Path, jars: Path, names: Collection[str]) -> None:
    if not jars.exists():
        fetched.rename(jars)
        return
    # File by file: a broker that runs from this directory keeps what it has open and finds the rest under its name.
    for name in names:
        (fetched / name).replace(jars / name)
    (fetched / ".verified").replace(jars / ".verified")


def _copy_dependencies(target: Path, options: list[str], on_progress: Progress) -> None:
    argv = [
        require_maven(),
        "--batch-mode",
        f"--file={_MANIFEST_DIR / 'pom.xml'}",
        "dependency:copy-dependencies",
        "-DincludeScope=runtime",
        f"-DoutputDirectory={target}",
        *options,
    ]
    said: list[str] = []
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=java_environment()) as maven:
        try:
            for line in maven.stdout or ():
                said.append(line.rstrip())
                if found := _DOWNLOADED_JAR.search(line):
                    on_progress(f"downloaded {found[1]} {found[2]}")
        except BaseException:
            maven.kill()
            raise
    if maven.returncode != 0:
        problem = f"Maven could not fetch the jars, exit code {maven.returncode}"
        raise LocalPartError(_PART, problem, remedy="is the network there?", log_tail="\n".join(said[-15:]))
