"""Write the table role × RPC of `docs/access.md` from the services' own tables, or check it.

python -m tools.access_table            # write
python -m tools.access_table --check    # exit 1 when it differs
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from chassis.caller import Role
from tools.tables import ROOT, SERVICES, main, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DOCUMENT = ROOT / "docs" / "access.md"


def rows(service: str) -> Iterator[list[str]]:
    """Yield a row for each RPC of a service, in the contract's order; one that its table leaves out nobody may call."""
    access: Mapping[str, frozenset[Role]] = import_module(f"services.{service}.adapters.access").ACCESS
    contract = import_module(f"paidan.{service}.v1.{service}_service_pb2").DESCRIPTOR
    for rpc in contract.services_by_name[f"{service.capitalize()}Service"].methods:
        allowed = access.get(rpc.name, frozenset())
        yield [f"`{rpc.name}`", *("yes" if role in allowed else "" for role in Role)]


def sections() -> dict[str, str]:
    """Return the document's generated sections."""
    header = ["RPC", *(role.value for role in Role)]
    return {f"access {service}": table(header, rows(service)) for service in SERVICES}


if __name__ == "__main__":
    sys.exit(main(DOCUMENT, sections(), __doc__))
