"""Topics in: what intake, the classifier and the SLA service tell, and what units answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chassis import trace
from chassis.inbox import claim
from chassis.message import InvalidMessage
from chassis.refusal import Refusal, RefusalKind
from services.dispatcher.adapters.errors import translate
from services.dispatcher.adapters.events import CLASSIFIER_TOPIC, INTAKE_TOPIC, READING, SLA_TOPIC, receipts_topic, refused_message
from services.dispatcher.adapters.receipts import INVALID_FIELD, UNREADABLE, echoed, inbox_id, read_receipt, readable, unit_of
from services.dispatcher.adapters.tables import inbox
from services.dispatcher.application.carry_out import act, take_news
from services.dispatcher.application.ports import KnownRequest
from services.dispatcher.domain.commands import TakeTicket, fingerprint
from services.dispatcher.domain.errors import DispatcherError, RequestIdReused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chassis.message import InMessage, Record
    from services.dispatcher.adapters.sql import DispatcherUnitOfWork
    from services.dispatcher.application.ports import Office
    from services.dispatcher.domain.catalogue import Catalogue
    from services.dispatcher.domain.commands import News, UnitCommand
    from services.dispatcher.domain.values import TicketId, UnitCode

GROUP = "paidan-dispatcher"


def topics(catalogue: Catalogue) -> tuple[str, ...]:
    """Return the topics to read: three of other services, and one of each unit, those of abolished districts included."""
    return (INTAKE_TOPIC, CLASSIFIER_TOPIC, SLA_TOPIC, *(receipts_topic(unit.code) for unit in catalogue.every_unit))


def message_id(message: InMessage) -> str:
    """Return the id by which a repetition is recognised; that of a receipt is the unit's own and never a header's."""
    unit = unit_of(message.topic)
    return inbox_id(unit, message.data) if unit is not None else message.id or message.position


def relevant(message: InMessage) -> bool:
    """Tell whether anything is done with a message; one without a type is buried."""
    return unit_of(message.topic) is not None or READING.heeds(message)


def counts_against_limit(topic: str) -> bool:
    """Tell whether invalid messages of a topic speak of a fault of ours; what outsiders send does not."""
    return unit_of(topic) is None


@dataclass(frozen=True, slots=True)
class _Told:
    """News of another service."""

    message: InMessage
    news: News

    @property
    def ticket_id(self) -> TicketId:
        return self.news.ticket.ticket_id if isinstance(self.news, TakeTicket) else self.news.ticket_id


@dataclass(frozen=True, slots=True)
class _Answered:
    """A receipt of a unit."""

    message: InMessage
    unit: UnitCode
    command: UnitCommand


class MessageHandler:
    """Carries out a batch of messages."""

    def __init__(self, office: Office) -> None:
        self._office = office

    def __call__(self, uow: DispatcherUnitOfWork, messages: Sequence[InMessage]) -> Sequence[tuple[InMessage, InvalidMessage]]:
        """Carry out messages in their order; returns those that can never be."""
        invalid: list[tuple[InMessage, InvalidMessage]] = []
        read = [each for message in messages if (each := _read(message, invalid)) is not None]
        uow.dispatches.lock(
            [each.ticket_id for each in read if isinstance(each, _Told)],
            [(each.command.ticket_id, each.unit) for each in read if isinstance(each, _Answered)],
        )
        requests: dict[str, KnownRequest] = {}
        for each in read:
            with trace.continue_from(each.message.traceparent):
                if isinstance(each, _Told):
                    self._take(uow, each, invalid)
                else:
                    done = self._act(uow, each)
                    requests[message_id(each.message)] = KnownRequest(fingerprint(each.command), refused=not done)
                uow.settle()
        uow.requests.note(requests)
        return invalid

    def repeated(self, uow: DispatcherUnitOfWork, messages: Sequence[InMessage]) -> Sequence[tuple[InMessage, InvalidMessage]]:
        """Refuse receipts that reuse an id for different content; return those that cannot be read. Repetitions have no effect."""
        invalid: list[tuple[InMessage, InvalidMessage]] = []
        receipts = [message for message in messages if unit_of(message.topic) is not None]
        known = uow.requests.known([message_id(message) for message in receipts])
        for message in receipts:
            answered = _read(message, invalid)
            if isinstance(answered, _Answered) and not known[message_id(message)].is_same(fingerprint(answered.command)):
                self._refuse_reuse(uow, answered)
        return invalid

    def _refuse_reuse(self, uow: DispatcherUnitOfWork, answered: _Answered) -> None:
        """Answer a receipt once, although it is read again if its offset was not committed."""
        message = answered.message
        if claim(uow.connection, inbox, [f"reused:{message.position}@{message.record_time.isoformat()}"]):
            refusal = _refusal(RequestIdReused(echoed(message.data, "receiptId", "receipt_id")))
            with trace.continue_from(message.traceparent):
                self._tell(uow, answered.unit, message.data, ticket_id=answered.command.ticket_id, number="", refusal=refusal)

    def tell_sender(self, uow: DispatcherUnitOfWork, record: Record, error: InvalidMessage) -> None:
        """Tell a unit that a message of its own was buried as a dead letter."""
        unit = unit_of(record.topic)
        if unit is None or error.reason == "BUG":
            return
        data = record.value or b""
        reason = INVALID_FIELD if error.reason == INVALID_FIELD else UNREADABLE
        refusal = Refusal(RefusalKind.INVALID, reason, f"{error.detail}; it was put aside, send it again corrected")
        self._tell(uow, unit, data, ticket_id=readable(data, "ticketId", "ticket_id"), number="", refusal=refusal)

    def _take(self, uow: DispatcherUnitOfWork, told: _Told, invalid: list[tuple[InMessage, InvalidMessage]]) -> None:
        """Carry out news; what contradicts what is known is a dead letter."""
        try:
            take_news(self._office, uow, told.news)
        except DispatcherError as error:
            refusal = _refusal(error)
            invalid.append((told.message, InvalidMessage(refusal.reason, refusal.message)))

    def _act(self, uow: DispatcherUnitOfWork, answered: _Answered) -> bool:
        """Execute a receipt; return False if it is refused, after writing the refusal to the unit's topic."""
        try:
            act(self._office, uow, answered.command)
        except DispatcherError as error:
            refusal = _refusal(error)
            dispatch = uow.dispatches.of_unit(answered.command.ticket_id, answered.unit)
            number = dispatch.ticket.number if dispatch is not None and dispatch.ticket is not None else ""
            self._tell(
                uow,
                answered.unit,
                answered.message.data,
                ticket_id=answered.command.ticket_id,
                number=number,
                refusal=refusal,
            )
            return False
        return True

    def _tell(
        self,
        uow: DispatcherUnitOfWork,
        unit: UnitCode,
        data: bytes,
        *,
        ticket_id: str,
        number: str,
        refusal: Refusal,
    ) -> None:
        uow.refuse_receipt(
            refusal.reason,
            refused_message(
                unit,
                receipt_id=echoed(data, "receiptId", "receipt_id"),
                ticket_id=ticket_id,
                number=number,
                reason=refusal.reason,
                message=refusal.message,
                now=self._office.clock.now(),
            ),
        )


def _read(message: InMessage, invalid: list[tuple[InMessage, InvalidMessage]]) -> _Told | _Answered | None:
    unit = unit_of(message.topic)
    try:
        if unit is not None:
            return _Answered(message, unit, read_receipt(unit, message.data))
        news = READING.decode(message)
    except InvalidMessage as error:
        invalid.append((message, error))
        return None
    return None if news is None else _Told(message, news)


def _refusal(error: DispatcherError) -> Refusal:
    refusal = translate(error)
    if refusal is None:
        raise error
    return refusal
