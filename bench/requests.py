"""What enterprises write: realistic submissions, each one reproducible from its number."""

from __future__ import annotations

import csv
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploy.topics import CATALOGUE
from paidan.intake.v1 import ticket_pb2
from paidan.intake.v1.intake_service_pb2 import SubmitTicketRequest
from services.intake.domain.uscc import check_character, organisation_check_character

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PORTALS = ("bench-12345", "bench-app", "bench-park")
"""Portals that submit."""

_ENTERPRISES = 20_000
_CHANNELS = (ticket_pb2.CHANNEL_QR_CODE, ticket_pb2.CHANNEL_APP, ticket_pb2.CHANNEL_HOTLINE)
_KINDS = ("机械制造", "电子", "食品", "汽车零部件", "新材料", "装备", "医药", "物流")
_SURNAMES = "赵钱孙李周吴郑王冯陈"
# Of ten requests seven name a district; the others leave it to the text or to where the enterprise is registered.
_NAMES_DISTRICT = 7


@dataclass(frozen=True, slots=True)
class Sample:
    """A text of the catalogue.

    Attributes:
        class_code: The class that it is the sample of.
        text: What an enterprise asks.
    """

    class_code: str
    text: str


@dataclass(frozen=True, slots=True)
class Submission:
    """A request, ready to send.

    Attributes:
        portal: Who submits it.
        payload: The serialised `SubmitTicketRequest`.
    """

    portal: str
    payload: bytes


def samples(catalogue: Path = CATALOGUE) -> Sequence[Sample]:
    """Return the sample text of every class."""
    return [Sample(row["code"], row["sample_zh"]) for row in _rows(catalogue / "classes.csv")]


class Submissions:
    """Submissions by number: the same number gives the same request, in any process."""

    def __init__(self, run: str, texts: Sequence[Sample]) -> None:
        """Make submissions out of `texts`; `run` keeps their request ids apart from those of other runs."""
        self._run = run
        self._texts = texts
        self._districts = [row["code"] for row in _rows(CATALOGUE / "districts.csv") if not row["valid_to"]]
        self._registering = [
            row["code"] for row in _rows(CATALOGUE / "districts.csv") if not row["valid_to"] and row["code_official"] == "yes"
        ]

    def sample_of(self, number: int) -> Sample:
        """Return the text that a submission is made of."""
        return self._texts[number % len(self._texts)]

    def make(self, number: int) -> Submission:
        """Return a submission."""
        dice = random.Random(f"{self._run}/{number}")
        enterprise = dice.randrange(_ENTERPRISES)
        portal = dice.randrange(len(PORTALS))
        request = SubmitTicketRequest(
            request_id=f"bench-{self._run}-{number}",
            enterprise=ticket_pb2.Enterprise(uscc=self._uscc(enterprise), name=_name(enterprise)),
            contact=ticket_pb2.Contact(name=f"{dice.choice(_SURNAMES)}经理", phone=f"138{dice.randrange(10**8):08d}"),
            text=f"{self.sample_of(number).text} 盼复，流水号{number}。",
            channel=_CHANNELS[portal],
            district_code=dice.choice(self._districts) if dice.randrange(10) < _NAMES_DISTRICT else "",
        )
        return Submission(PORTALS[portal], request.SerializeToString())

    def _uscc(self, enterprise: int) -> str:
        organisation = f"{80_000_000 + enterprise}"
        district = self._registering[enterprise % len(self._registering)]
        first_17 = f"91{district}{organisation}{organisation_check_character(organisation)}"
        return first_17 + check_character(first_17)


def _name(enterprise: int) -> str:
    return f"重庆第{enterprise}{_KINDS[enterprise % len(_KINDS)]}有限公司"


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)
