"""Take in requests: several at once share one transaction."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from services.intake.application.ports import KnownRequest, RequestKey
from services.intake.domain.errors import RequestIdReused
from services.intake.domain.events import TicketSubmitted
from services.intake.domain.number import make_number
from services.intake.domain.ticket import Contact, Enterprise, Ticket
from services.intake.domain.types import Channel, DistrictCode, PortalCode, RequestId, Uscc
from services.intake.domain.uscc import registration_district

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date

    from chassis.clock import Clock
    from services.intake.application.ports import UnitOfWork
    from services.intake.domain.types import TicketId

_ZONE = ZoneInfo("Asia/Shanghai")


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitTicket:
    """A request whose fields were checked.

    Attributes:
        traceparent: W3C trace context of the call; those of one transaction belong to many.
    """

    portal: PortalCode
    request_id: RequestId
    uscc: Uscc
    enterprise_name: str
    contact_name: str = field(repr=False)
    contact_phone: str = field(repr=False)
    text: str
    channel: Channel
    district: DistrictCode
    confidential: bool
    traceparent: str | None = None

    @property
    def key(self) -> RequestKey:
        """What it is recognised by."""
        return RequestKey(self.portal, "submit", self.request_id)

    def fingerprint(self) -> bytes:
        """SHA-256 of its content: the same request again has the same."""
        content = [
            self.uscc,
            self.enterprise_name,
            self.contact_name,
            self.contact_phone,
            self.text,
            self.channel,
            self.district,
            self.confidential,
        ]
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).digest()


@dataclass(frozen=True, slots=True)
class Submitted:
    """The ticket of a request.

    Attributes:
        ticket: As it is stored.
        duplicate: True if the request was known already.
    """

    ticket: Ticket
    duplicate: bool


class SubmitTickets:
    """Stores requests that are new and finds the tickets of those that are known."""

    def __init__(self, clock: Clock, new_ticket_id: Callable[[], TicketId]) -> None:
        self._clock = clock
        self._new_ticket_id = new_ticket_id

    def __call__(self, uow: UnitOfWork, commands: Sequence[SubmitTicket]) -> Sequence[Submitted | RequestIdReused]:
        """Carry out commands; one answer a command, in their order."""
        first = {command.key: command for command in reversed(commands)}
        wanted = {key: KnownRequest(command.fingerprint(), self._new_ticket_id()) for key, command in first.items()}
        known = uow.requests.claim(wanted)
        new = [command for key, command in first.items() if key not in known]
        stored = self._store(uow, new, wanted)
        uow.tickets.lock_many([request.ticket_id for request in known.values()])
        answers: list[Submitted | RequestIdReused] = []
        for command in commands:
            request = known.get(command.key) or wanted[command.key]
            ticket = stored.get(command.key) or uow.tickets.get(request.ticket_id)
            if ticket is None or request.fingerprint != command.fingerprint():
                answers.append(RequestIdReused(command.request_id))
            else:
                answers.append(Submitted(ticket, duplicate=command.key in known or first[command.key] is not command))
        return answers

    def _store(
        self,
        uow: UnitOfWork,
        commands: Sequence[SubmitTicket],
        wanted: Mapping[RequestKey, KnownRequest],
    ) -> dict[RequestKey, Ticket]:
        now = self._clock.now()
        day = now.astimezone(_ZONE).date()
        registered = uow.enterprises.districts([command.uscc for command in commands])
        homes = {command.key: registered.get(command.uscc) or DistrictCode(registration_district(command.uscc)) for command in commands}
        counters = {command.key: (day, command.district or homes[command.key]) for command in commands}
        sequences = _Sequences(uow.numbers.take(Counter(counters.values())), Counter(counters.values()))
        tickets = {}
        for command in commands:
            ticket = Ticket(
                ticket_id=wanted[command.key].ticket_id,
                number=make_number(*counters[command.key], sequences.next(counters[command.key])),
                portal=command.portal,
                enterprise=Enterprise(uscc=command.uscc, name=command.enterprise_name, district=homes[command.key]),
                text=command.text,
                channel=command.channel,
                district=command.district,
                confidential=command.confidential,
                create_time=now,
                update_time=now,
            )
            ticket.submitted()
            uow.tickets.add(ticket, Contact(name=command.contact_name, phone=command.contact_phone))
            uow.tell(TicketSubmitted(ticket, command.traceparent))
            tickets[command.key] = ticket
        return tickets


class _Sequences:
    """Hands out the numbers that were taken together."""

    def __init__(
        self,
        last: Mapping[tuple[date, DistrictCode], int],
        taken: Mapping[tuple[date, DistrictCode], int],
    ) -> None:
        self._next = {counter: last[counter] - taken[counter] for counter in taken}

    def next(self, counter: tuple[date, DistrictCode]) -> int:
        self._next[counter] += 1
        return self._next[counter]
