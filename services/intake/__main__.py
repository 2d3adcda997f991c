"""`python -m services.intake`: settings → logging → metrics → build → signals → run."""

from __future__ import annotations

import threading

from chassis import lifecycle, logging
from services.intake.bootstrap import build
from services.intake.settings import IntakeSettings


def main() -> None:
    """Run intake until SIGTERM or SIGINT."""
    settings = IntakeSettings()
    logging.configure(service="intake", level=settings.log_level)
    components = build(settings)
    stop = threading.Event()
    lifecycle.stop_on_signals(stop)
    lifecycle.run(components, stop, grace=settings.drain_grace)


if __name__ == "__main__":
    main()
