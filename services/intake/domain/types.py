"""Distinct types for things that must not be swapped."""

from __future__ import annotations

from enum import StrEnum
from typing import NewType

TicketId = NewType("TicketId", str)
"""UUIDv7 as text."""

TicketNumber = NewType("TicketNumber", str)
"""Number for people, see `services.intake.domain.number`."""

PortalCode = NewType("PortalCode", str)
UnitCode = NewType("UnitCode", str)
DistrictCode = NewType("DistrictCode", str)
RequestId = NewType("RequestId", str)
Uscc = NewType("Uscc", str)
"""A unified social credit code whose check digits hold, see `services.intake.domain.uscc`."""

Version = NewType("Version", int)
"""Number of changes of a ticket so far, from 1."""


class TicketState(StrEnum):
    """Where a ticket stands; the names are those of the contract."""

    SUBMITTED = "SUBMITTED"
    DISPATCHED = "DISPATCHED"
    ACCEPTED = "ACCEPTED"
    AWAITING_SUPPLEMENT = "AWAITING_SUPPLEMENT"
    AWAITING_TRIAGE = "AWAITING_TRIAGE"
    RESOLVED = "RESOLVED"
    CLOSED = "CLOSED"
    WITHDRAWN = "WITHDRAWN"
    DECLINED = "DECLINED"


OPEN = frozenset(
    {
        TicketState.SUBMITTED,
        TicketState.DISPATCHED,
        TicketState.ACCEPTED,
        TicketState.AWAITING_SUPPLEMENT,
        TicketState.AWAITING_TRIAGE,
    },
)
"""Somebody still has to act."""

ENDED = frozenset({TicketState.CLOSED, TicketState.WITHDRAWN, TicketState.DECLINED})
"""A watch ends here."""


class Channel(StrEnum):
    """Where the enterprise wrote its request."""

    QR_CODE = "QR_CODE"
    APP = "APP"
    WEB = "WEB"
    HOTLINE = "HOTLINE"
    SPECIALIST = "SPECIALIST"


class Solved(StrEnum):
    """The enterprise's view whether its matter is solved."""

    YES = "YES"
    NO = "NO"
    NO_VIEW = "NO_VIEW"
