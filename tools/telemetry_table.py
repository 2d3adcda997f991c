"""Write the tables of metrics in `docs/telemetry.md` from the live registries, or check them.

python -m tools.telemetry_table            # write
python -m tools.telemetry_table --check    # exit 1 when they differ
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from chassis.metrics import ChassisMetrics
from tools.tables import ROOT, SERVICES, main, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DOCUMENT = ROOT / "docs" / "telemetry.md"


def metrics_of(service: str) -> Iterator[MetricWrapperBase]:
    """Yield the metrics that a service declares in its `telemetry.py`."""
    module = import_module(f"services.{service}.telemetry")
    declaring = getattr(module, f"{service.capitalize()}Metrics")
    yield from declared(declaring(CollectorRegistry()))


def rows(metrics: Iterable[MetricWrapperBase]) -> Iterator[list[str]]:
    """Yield name, type, labels and help of each metric, as Prometheus sees them."""
    for metric in metrics:
        family = next(iter(metric.describe()))
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = metric._labelnames  # noqa: SLF001 - the library tells labels in no other way before there are samples
        yield [f"`{name}`", family.type, ", ".join(f"`{label}`" for label in labels), family.documentation]


def declared(holder: object) -> Iterator[MetricWrapperBase]:
    """Yield the metrics that are attributes of an object."""
    return (value for value in vars(holder).values() if isinstance(value, MetricWrapperBase))


def sections() -> dict[str, str]:
    """Return the document's generated sections."""
    header = ("metric", "type", "labels", "meaning")
    return {
        "metrics common": table(header, rows(declared(ChassisMetrics()))),
        **{f"metrics {service}": table(header, rows(metrics_of(service))) for service in SERVICES},
    }


if __name__ == "__main__":
    sys.exit(main(DOCUMENT, sections(), __doc__))
