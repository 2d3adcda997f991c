"""Runs the classifier: `python -m services.classifier`."""

from __future__ import annotations

import os
import threading

# One text is too small a job for several threads of linear algebra, and every thread takes memory; read when NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from chassis import lifecycle, logging
from services.classifier.bootstrap import build
from services.classifier.settings import ClassifierSettings


def main() -> None:
    """Run until told to stop."""
    settings = ClassifierSettings()
    logging.configure(service="classifier", level=settings.log_level)
    components = build(settings)
    stop = threading.Event()
    lifecycle.stop_on_signals(stop)
    lifecycle.run(components, stop, grace=settings.drain_grace)


if __name__ == "__main__":
    main()
