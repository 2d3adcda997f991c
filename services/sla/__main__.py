"""`python -m services.sla`: settings → logging → metrics → build → signals → run."""

from __future__ import annotations

import threading

from chassis import lifecycle, logging
from services.sla.bootstrap import build
from services.sla.settings import SlaSettings


def main() -> None:
    """Run the SLA service until SIGTERM or SIGINT."""
    settings = SlaSettings()
    logging.configure(service="sla", level=settings.log_level)
    components = build(settings)
    stop = threading.Event()
    lifecycle.stop_on_signals(stop)
    lifecycle.run(components, stop, grace=settings.drain_grace)


if __name__ == "__main__":
    main()
