"""Read the deadlines of a ticket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.sla.domain.errors import TicketNotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chassis.caller import Caller
    from services.sla.application.ports import DeadlineReader
    from services.sla.domain.deadline import Deadline, TicketId


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadDeadlines:
    """Wanted: all deadlines of a ticket."""

    caller: Caller
    ticket_id: TicketId


def read_deadlines(reader: DeadlineReader, query: ReadDeadlines) -> Sequence[Deadline]:
    """Return them, earliest cycle first, dispatch before resolution.

    Raises:
        TicketNotFound: There are none, or they are not the caller's to see.
    """
    found = reader.of_ticket(query.ticket_id, query.caller)
    if not found:
        raise TicketNotFound(query.ticket_id)
    return found
