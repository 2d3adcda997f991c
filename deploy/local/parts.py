"""Both real parts at once: started here, or the ones that the environment points at."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from deploy.local.cache import kafka_jars
from deploy.local.kafka import LocalKafka
from deploy.local.lock import DirectoryLock
from deploy.local.part import LocalPart
from deploy.local.postgres import LocalPostgres
from deploy.local.tools import require_java


@dataclass(frozen=True)
class LocalParts:
    """Where the parts are.

    Attributes:
        kafka_bootstrap: ``host:port`` of one or more brokers, separated by commas.
        database_url: SQLAlchemy URL with the rights to create roles and schemas.
        kafka: The broker started here; None when ``KAFKA_BOOTSTRAP`` names another.
        postgres: The server started here; None when ``DATABASE_URL`` names another.
    """

    kafka_bootstrap: str
    database_url: str
    kafka: LocalKafka | None
    postgres: LocalPostgres | None


@contextmanager
def open_parts(data_dir: Path, *, on_progress: Callable[[str], None]) -> Iterator[LocalParts]:
    """Start Kafka and PostgreSQL side by side, and stop them at the end of the ``with`` block, however it ends.

    ``KAFKA_BOOTSTRAP`` and ``DATABASE_URL`` in the environment each replace the start of a part. A second run on the
    same directory finds the first one's data, also when that was killed. SIGTERM ends the block in order only if the
    caller turns it into an exception; otherwise the parts are killed with us, which their data survive too.

    Args:
        data_dir: Directory for the data and logs of what is started here; one run at a time may use it.
        on_progress: Gets a line for each thing that happens.

    Yields:
        Where the parts are.

    Raises:
        InUseError: Another run uses the directory.
        LocalPartError: A part did not become ready.
    """
    bootstrap, url = os.environ.get("KAFKA_BOOTSTRAP"), os.environ.get("DATABASE_URL")
    with ExitStack() as stack:
        stack.enter_context(DirectoryLock(data_dir).held())
        kafka = None if bootstrap else LocalKafka(data_dir / "kafka")
        postgres = None if url else LocalPostgres(data_dir / "postgres")
        if kafka is not None:
            require_java()
            kafka_jars(on_progress)
        ours = [part for part in (kafka, postgres) if part is not None]
        for part in ours:
            stack.callback(part.stop)
        if ours:
            stack.callback(on_progress, "stopping what was started here")
        _start_together(ours, on_progress)
        yield LocalParts(
            kafka_bootstrap=kafka.bootstrap if kafka is not None else str(bootstrap),
            database_url=postgres.url if postgres is not None else str(url),
            kafka=kafka,
            postgres=postgres,
        )


def _start_together(parts: Sequence[LocalPart], on_progress: Callable[[str], None]) -> None:
    """Start every part in a thread of its own; when one fails or we are interrupted, do not wait for the others."""
    if not parts:
        return
    begin = monotonic()
    with ThreadPoolExecutor(len(parts)) as pool:
        try:
            starts = {pool.submit(part.start): part for part in parts}
            for done in as_completed(starts):
                done.result()
                part = starts[done]
                on_progress(f"{part.name} is ready at 127.0.0.1:{part.port} after {monotonic() - begin:.1f} s")
        except BaseException:
            for part in parts:
                part.kill()
            raise
