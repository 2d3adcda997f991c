"""What happens in the demo: requests, enterprises, and what units and the desk are to do with them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent
ENTERPRISES_FILE = _HERE / "enterprises.csv"
_REQUESTS_FILE = _HERE / "requests.csv"

OUT_OF_SCOPE = "other"


@dataclass(frozen=True, slots=True)
class Enterprise:
    """An enterprise of the sample registry."""

    uscc: str
    name: str
    district: str


@dataclass(frozen=True, slots=True)
class ScriptedRequest:
    """A request and what is to happen to it.

    Attributes:
        number: Its place in the script, from 1.
        class_code: What an expert would call it; `other` for what is out of scope, empty for what nobody could tell. Paidan never sees it.
        district: District that the request names; empty if none.
        channel: Name of the channel.
        play: What is special about it, see `requests.csv`; empty for the usual way.
        argument: What the play needs, e.g. a unit.
        text: The request.
        enterprise: Whose it is.
    """

    number: int
    class_code: str
    district: str
    channel: str
    play: str
    argument: str
    text: str
    enterprise: Enterprise


def read_enterprises() -> list[Enterprise]:
    """Return the sample registry."""
    with ENTERPRISES_FILE.open(encoding="utf-8", newline="") as file:
        return [Enterprise(row["uscc"], row["name"], row["district_code"]) for row in csv.DictReader(file)]


def read_script() -> list[ScriptedRequest]:
    """Return the requests in their order."""
    enterprises = read_enterprises()
    with _REQUESTS_FILE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [_request(number, row, enterprises) for number, row in enumerate(rows, 1)]


def _request(number: int, row: dict[str, str], enterprises: list[Enterprise]) -> ScriptedRequest:
    local = [enterprise for enterprise in enterprises if enterprise.district == row["district"]]
    play, _, argument = row["play"].partition(":")
    return ScriptedRequest(
        number=number,
        class_code=row["class"],
        district=row["district"],
        channel=row["channel"],
        play=play,
        argument=argument,
        text=row["text"],
        enterprise=(local or enterprises)[number % len(local or enterprises)],
    )
