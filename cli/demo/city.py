"""What everyone in the demo knows: the ledger, kept outside the system by those who talk to it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from paidan.dispatcher.v1 import dispatch_pb2, dispatcher_service_pb2

if TYPE_CHECKING:
    from cli.demo.script import ScriptedRequest

RESULT_WORDS = "已联系企业，现场核实并当面办妥，相关手续已告知"


@dataclass(slots=True)
class Lead:
    """A lead unit's order, as the unit's own consumer saw it.

    Attributes:
        seen_time: Record time on the unit's topic, in seconds since 1970.
    """

    unit: str
    epoch: int
    method: int
    class_code: str
    seen_time: float


@dataclass(slots=True)
class Entry:
    """One acknowledged ticket.

    Attributes:
        sent_time: When the portal began to submit it, in seconds since 1970.
        leads: Orders to lead units, in the order in which they were seen.
        due: Due time that the lead was told, RFC 3339; empty before.
        state: The ticket's state that the portal's watch told last.
    """

    request: ScriptedRequest
    ticket_id: str
    number: str
    sent_time: float
    leads: list[Lead] = field(default_factory=list)
    due: str = ""
    state: int = 0
    kinds: list[str] = field(default_factory=list)

    @property
    def seconds_to_dispatch(self) -> float | None:
        """Seconds from submission to the first order on a unit's topic; None before."""
        return self.leads[0].seen_time - self.sent_time if self.leads else None


class City:
    """The shared ledger of the portal, the units and the desk. Safe for several threads."""

    def __init__(self, catalogue: dispatcher_service_pb2.GetCatalogueResponse) -> None:
        self.units = {unit.code: unit for unit in catalogue.units}
        self.classes = {each.code: each for each in catalogue.classes}
        self.districts = {district.code: district for district in catalogue.districts}
        self.lock = threading.Lock()
        self.entries: dict[str, Entry] = {}
        self.problems: list[str] = []
        self.refusals: list[str] = []
        self.repeated: int = 0
        self.malformed: list[str] = []
        self.early: dict[str, list[tuple[Lead | None, str]]] = {}

    def acknowledge(self, entry: Entry) -> None:
        """Note that the system promised to keep a ticket; what units saw of it before is joined."""
        with self.lock:
            known = self.entries.setdefault(entry.ticket_id, entry)
            for lead, due in self.early.pop(entry.ticket_id, []):
                _note(known, lead, due)

    def seen(self, ticket_id: str, lead: Lead | None, due: str = "") -> None:
        """Note what a unit's topic told: an order to a lead, or a due time."""
        with self.lock:
            entry = self.entries.get(ticket_id)
            if entry is None:
                self.early.setdefault(ticket_id, []).append((lead, due))
            else:
                _note(entry, lead, due)

    def entry(self, ticket_id: str) -> Entry | None:
        """Return the entry of a ticket, if the portal has it already."""
        with self.lock:
            return self.entries.get(ticket_id)

    def all(self) -> list[Entry]:
        """Return the entries in the script's order."""
        with self.lock:
            return sorted(self.entries.values(), key=lambda entry: entry.request.number)

    def expert_unit(self, class_code: str, district: str) -> str:
        """Return the unit that an expert would name for a class and a district, by the catalogue."""
        known = self.classes[class_code]
        district_first = known.level == dispatcher_service_pb2.COMPETENCE_LEVEL_DISTRICT_FIRST
        return district if district_first and district in self.units else known.lead_unit

    def unit_name(self, code: str) -> str:
        """Return a unit's Chinese name."""
        return self.units[code].name_zh if code in self.units else code


def _note(entry: Entry, lead: Lead | None, due: str) -> None:
    if lead is not None:
        entry.leads.append(lead)
    if due:
        entry.due = due


def method_of(name: str) -> int:
    """Return the number of a method by its name in JSON."""
    return dispatch_pb2.DispatchMethod.Value(name)
