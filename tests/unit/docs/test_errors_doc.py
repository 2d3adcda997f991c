from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from google.rpc import code_pb2

from paidan.classifier.v1 import classifier_service_pb2
from paidan.common.v1 import error_reason_pb2
from paidan.dispatcher.v1 import dispatcher_service_pb2
from paidan.intake.v1 import intake_service_pb2
from paidan.sla.v1 import sla_service_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

DOCUMENT = Path(__file__).parents[3] / "docs" / "errors.md"
MODULES: Mapping[str, ModuleType] = {
    "paidan": error_reason_pb2,
    "intake.paidan": intake_service_pb2,
    "classifier.paidan": classifier_service_pb2,
    "dispatcher.paidan": dispatcher_service_pb2,
    "sla.paidan": sla_service_pb2,
}


def documented(domain: str) -> dict[str, str]:
    """Reasons in the section of a domain, with their gRPC code."""
    section = re.split(r"^## ", DOCUMENT.read_text(encoding="utf-8").split(f"## `{domain}`", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    return dict(re.findall(r"^\| `([A-Z_]+)` \| `?([A-Za-z_ ]+?)`? \|", section, flags=re.MULTILINE))


@pytest.mark.parametrize("domain", MODULES)
def test_every_reason_is_documented_and_no_other(domain: str) -> None:
    names = MODULES[domain].ErrorReason.keys()

    reasons = documented(domain)

    assert sorted(reasons) == sorted(name.removeprefix("ERROR_REASON_") for name in names if not name.endswith("_UNSPECIFIED"))


@pytest.mark.parametrize("domain", MODULES)
def test_every_documented_code_is_one_of_grpc(domain: str) -> None:
    codes = set(documented(domain).values()) - {"receipts only"}

    assert codes <= set(code_pb2.Code.keys())
