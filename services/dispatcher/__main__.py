"""`python -m services.dispatcher`: settings → logging → metrics → build → signals → run."""

from __future__ import annotations

import threading

from chassis import lifecycle, logging
from services.dispatcher.bootstrap import build
from services.dispatcher.settings import DispatcherSettings


def main() -> None:
    """Run the dispatcher until SIGTERM or SIGINT."""
    settings = DispatcherSettings()
    logging.configure(service="dispatcher", level=settings.log_level)
    components = build(settings)
    stop = threading.Event()
    lifecycle.stop_on_signals(stop)
    lifecycle.run(components, stop, grace=settings.drain_grace)


if __name__ == "__main__":
    main()
