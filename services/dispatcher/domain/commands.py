"""What the doors ask for. A command checks its own fields when it is built, whichever door builds it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from services.dispatcher.domain.checks import Violations

if TYPE_CHECKING:
    from datetime import datetime

    from services.dispatcher.domain.values import (
        Classification,
        DeadlineChange,
        ReturnReason,
        Supplement,
        Ticket,
        TicketId,
        UnitCode,
    )

MAX_EXTENSION = 15
"""Workdays that a unit may ask for and the desk may grant at once."""

MAX_NOTE = 1000
MAX_RESOLUTION = 5000
MAX_REFS = 20
MAX_REF = 500
MAX_CHANNEL = 500
MAX_CO_HANDLERS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeTicket:
    """A request was stored by intake."""

    ticket: Ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeClassification:
    """The classifier answered."""

    ticket_id: TicketId
    classification: Classification


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawTicket:
    """The enterprise took its request back."""

    ticket_id: TicketId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverSupplement:
    """The enterprise added material."""

    ticket_id: TicketId
    supplement: Supplement


@dataclass(frozen=True, slots=True, kw_only=True)
class ReopenTicket:
    """A resolved ticket goes back to work."""

    ticket_id: TicketId
    reason: str
    reopen_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteDeadline:
    """The SLA service said something of the resolution's due time.

    Attributes:
        ticket_id: Id of the ticket.
        change: What it said.
        due_time: When it is due, exclusive; None while paused.
        cycle: Cycle of the clock: 0 for the submission, then the number of the reopening.
    """

    ticket_id: TicketId
    change: DeadlineChange
    due_time: datetime | None
    cycle: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownCommand:
    """A stored command of a newer release. This release keeps it unchanged and does not execute it.

    Attributes:
        kind: Its type.
        body: Its JSON.
    """

    kind: str
    body: object


EarlyNews = TakeClassification | WithdrawTicket | DeliverSupplement | NoteDeadline
"""Commands that may arrive before the submission or the reopening that they depend on: topics have no common order."""

EarlyCommand = EarlyNews | UnknownCommand
"""A command that is stored because it arrived early."""

News = TakeTicket | ReopenTicket | EarlyNews
"""What other services tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accept:
    """A unit signs for a ticket (签收)."""

    unit: UnitCode
    ticket_id: TicketId
    epoch: int

    def __post_init__(self) -> None:
        """Check the fields."""
        _check_assignment(self.ticket_id, self.epoch).raise_if_any()


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """A unit sends a ticket back (退回)."""

    unit: UnitCode
    ticket_id: TicketId
    epoch: int
    reason: ReturnReason
    suggested_unit: str
    note: str

    def __post_init__(self) -> None:
        """Check the fields."""
        violations = _check_assignment(self.ticket_id, self.epoch)
        violations.code("suggested_unit", self.suggested_unit)
        note = violations.text("note", self.note, most=MAX_NOTE, required=False)
        violations.raise_if_any()
        _replace(self, note=note)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSupplement:
    """A unit asks the enterprise for material (补充材料)."""

    unit: UnitCode
    ticket_id: TicketId
    epoch: int
    question: str

    def __post_init__(self) -> None:
        """Check the fields."""
        violations = _check_assignment(self.ticket_id, self.epoch)
        question = violations.text("question", self.question, most=MAX_NOTE)
        violations.raise_if_any()
        _replace(self, question=question)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestExtension:
    """A unit asks the desk for more time (延期)."""

    unit: UnitCode
    ticket_id: TicketId
    epoch: int
    workdays: int
    reason: str

    def __post_init__(self) -> None:
        """Check the fields."""
        violations = _check_assignment(self.ticket_id, self.epoch)
        violations.number("workdays", self.workdays, least=1, most=MAX_EXTENSION)
        reason = violations.text("reason", self.reason, most=MAX_NOTE)
        violations.raise_if_any()
        _replace(self, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportProgress:
    """A unit tells how far it is."""

    unit: UnitCode
    ticket_id: TicketId
    epoch: int
    note: str

    def __post_init__(self) -> None:
        """Check the fields."""
        violations = _check_assignment(self.ticket_id, self.epoch)
        note = violations.text("note", self.note, most=MAX_NOTE)
        violations.raise_if_any()
        _replace(self, note=note)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolve:
    """A unit says that it is solved (办结)."""

    unit: UnitCode
    ticket_id: TicketId
    epoch: int
    resolution: str
    attachment_refs: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check the fields."""
        violations = _check_assignment(self.ticket_id, self.epoch)
        resolution = violations.text("resolution", self.resolution, most=MAX_RESOLUTION)
        attachment_refs = violations.texts("attachment_refs", self.attachment_refs, most=MAX_REFS, longest=MAX_REF)
        violations.raise_if_any()
        _replace(self, resolution=resolution, attachment_refs=attachment_refs)


UnitCommand = Accept | Return | RequestSupplement | RequestExtension | ReportProgress | Resolve
"""What a unit does with a ticket that it leads, by RPC or by receipt."""


def fingerprint(command: UnitCommand) -> bytes:
    """Return the SHA-256 of a unit's command; the same for an RPC and a receipt.

    Empty fields are omitted. So a field that a later release adds does not change the fingerprints of commands without it.
    """
    content = {name: value for name, value in asdict(command).items() if name != "unit" and value}
    return hashlib.sha256(json.dumps([type(command).__name__, content], sort_keys=True).encode()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignByDesk:
    """The desk gives a ticket that waits for it to a unit (人工分拨)."""

    desk: str
    ticket_id: TicketId
    unit: str
    co_handlers: tuple[str, ...]
    class_code: str
    note: str

    def __post_init__(self) -> None:
        """Check the fields."""
        violations = Violations()
        violations.code("ticket_id", self.ticket_id, required=True)
        violations.code("assign.unit", self.unit, required=True)
        co_handlers = violations.texts("assign.co_handler_units", self.co_handlers, most=MAX_CO_HANDLERS, longest=MAX_REF)
        violations.code("assign.class_code", self.class_code)
        note = violations.text("assign.note", self.note, most=MAX_NOTE, required=False)
        violations.raise_if_any()
        _replace(self, co_handlers=co_handlers, note=note)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclineByDesk:
    """The desk declines a ticket that waits for it (不予受理)."""

    desk: str
    ticket_id: TicketId
    reason: str
    right_channel: str

    def __post_init__(self) -> None:
        """Check the fields."""
        violations = Violations()
        violations.code("ticket_id", self.ticket_id, required=True)
        reason = violations.text("decline.reason", self.reason, most=MAX_NOTE)
        right_channel = violations.text("decline.right_channel", self.right_channel, most=MAX_CHANNEL)
        violations.raise_if_any()
        _replace(self, reason=reason, right_channel=right_channel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """The desk moves a ticket to another unit (转办)."""

    desk: str
    ticket_id: TicketId
    epoch: int
    unit: str
    reason: str

    def __post_init__(self) -> None:
        """Check the fields."""
        violations = _check_assignment(self.ticket_id, self.epoch)
        violations.code("unit", self.unit, required=True)
        reason = violations.text("reason", self.reason, most=MAX_NOTE)
        violations.raise_if_any()
        _replace(self, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecideExtension:
    """The desk grants or refuses an extension.

    Attributes:
        desk: Who decides.
        ticket_id: Id of the ticket.
        granted: True to grant.
        workdays: Whole workdays to grant; 0 means as many as were asked for.
        note: Words for the unit.
    """

    desk: str
    ticket_id: TicketId
    granted: bool
    workdays: int
    note: str

    def __post_init__(self) -> None:
        """Check the fields."""
        violations = Violations()
        violations.code("ticket_id", self.ticket_id, required=True)
        violations.number("workdays", self.workdays, least=0, most=MAX_EXTENSION)
        note = violations.text("note", self.note, most=MAX_NOTE, required=False)
        violations.raise_if_any()
        _replace(self, note=note)


DeskCommand = AssignByDesk | DeclineByDesk | Transfer | DecideExtension
"""What the desk does."""


def _check_assignment(ticket_id: str, epoch: int) -> Violations:
    violations = Violations()
    violations.code("ticket_id", ticket_id, required=True)
    violations.number("epoch", epoch, least=1, most=2**31 - 1)
    return violations


def _replace(command: object, **cleaned: object) -> None:
    """Put the clean values of texts into a command that is being built."""
    for name, value in cleaned.items():
        object.__setattr__(command, name, value)
