"""Fingerprints of units' requests lie in the database: they are the same in every release, and differ where the content does."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from services.dispatcher.domain.commands import (
    Accept,
    ReportProgress,
    RequestExtension,
    RequestSupplement,
    Resolve,
    Return,
    UnitCommand,
    fingerprint,
)
from services.dispatcher.domain.values import ReturnReason
from tests.unit.dispatcher.builders import INDUSTRY, MARKET, TICKET_ID

REQUESTS: dict[str, UnitCommand] = {
    "ACCEPT": Accept(unit=INDUSTRY, ticket_id=TICKET_ID, epoch=1),
    "RETURN": Return(unit=INDUSTRY, ticket_id=TICKET_ID, epoch=1, reason=ReturnReason.DUPLICATE, suggested_unit="", note="重复"),
    "SUPPLEMENT": RequestSupplement(unit=INDUSTRY, ticket_id=TICKET_ID, epoch=1, question="户号"),
    "EXTENSION": RequestExtension(unit=INDUSTRY, ticket_id=TICKET_ID, epoch=1, workdays=2, reason="等检测报告"),
    "PROGRESS": ReportProgress(unit=INDUSTRY, ticket_id=TICKET_ID, epoch=1, note="已联系"),
    "RESOLVE": Resolve(unit=INDUSTRY, ticket_id=TICKET_ID, epoch=1, resolution="已办", attachment_refs=("a", "b")),
}
GOLDEN = {
    "ACCEPT": "410a6700edf26e18",
    "RETURN": "b842e9f54284e70b",
    "SUPPLEMENT": "747cdce476006293",
    "EXTENSION": "e474eaa8be79242e",
    "PROGRESS": "8418fdfee3d4ce72",
    "RESOLVE": "af76d402f05c6f0b",
}


def test_a_fingerprint_is_the_one_that_earlier_releases_wrote() -> None:
    assert {name: fingerprint(request).hex()[:16] for name, request in REQUESTS.items()} == GOLDEN


def test_requests_of_different_content_have_different_fingerprints() -> None:
    changed = [replace(request, epoch=2) for request in REQUESTS.values()]
    changed += [replace(request, note="已到现场") for request in REQUESTS.values() if isinstance(request, Return | ReportProgress)]
    changed += [
        replace(request, attachment_refs=refs) for request in REQUESTS.values() if isinstance(request, Resolve) for refs in (("ab",), ())
    ]

    marks = [fingerprint(request) for request in (*REQUESTS.values(), *changed)]

    assert not [pair for pair in itertools.combinations(marks, 2) if pair[0] == pair[1]]


@pytest.mark.parametrize("name", REQUESTS)
def test_a_fingerprint_says_nothing_of_the_unit_whose_namespace_the_id_is_in(name: str) -> None:
    assert fingerprint(replace(REQUESTS[name], unit=MARKET)) == fingerprint(REQUESTS[name])
