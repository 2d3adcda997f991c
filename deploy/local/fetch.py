"""Fetches what the local parts need from the network: ``python -m deploy.local.fetch``."""

import sys
from time import monotonic

from deploy.local.cache import cache_root, kafka_jars
from deploy.local.errors import LocalPartError
from deploy.local.postgres import find_binaries
from deploy.local.tools import require_java


def main() -> int:
    """Fill the cache and say what happens.

    Returns:
        Exit code: 0 when all is there, 1 when something is missing, which is named on standard error.
    """
    begin = monotonic()
    news: list[str] = []

    def tell(line: str) -> None:
        news.append(line)
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    try:
        require_java()
        find_binaries()
        jars = kafka_jars(tell)
    except LocalPartError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    verb = "now" if news else "already"
    seconds = monotonic() - begin
    sys.stdout.write(f"{len(jars)} Kafka jars are {verb} in {cache_root()} and PostgreSQL 18 is there ({seconds:.1f} s)\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
