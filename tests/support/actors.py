"""Those who use Paidan: a portal, a unit, the desk. Each acts through its own door and waits for what it is told."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import grpc
from kafka import KafkaProducer

from chassis.caller import Role
from paidan.dispatcher.v1 import dispatcher_service_pb2 as dispatcher
from paidan.intake.v1 import intake_service_pb2 as intake
from paidan.intake.v1 import ticket_pb2
from paidan.sla.v1 import deadline_pb2
from paidan.sla.v1 import sla_service_pb2 as sla
from tests.support.requests import Matter, submission, unique
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from paidan.dispatcher.v1 import dispatch_pb2
    from tests.support.city import City

_TIMEOUT = 20


class Portal:
    """A portal of its own, that nobody used before."""

    def __init__(self, city: City) -> None:
        self._city = city
        self.code = city.new_portal()
        self.metadata = city.token(Role.PORTAL, self.code)

    def submit(
        self,
        matter: Matter | None = None,
        *,
        text: str = "",
        district: str | None = None,
        confidential: bool = False,
        traceparent: str = "",
    ) -> str:
        """Submit a request; returns the ticket's id."""
        where = district if district is not None else matter.district if matter is not None else ""
        words = unique(matter.text if matter is not None else text)
        request = submission(words, uuid.uuid4().hex, district=where, confidential=confidential)
        metadata = (*self.metadata, ("traceparent", traceparent)) if traceparent else self.metadata
        return self._city.intake.SubmitTicket(request, metadata=metadata, timeout=_TIMEOUT, wait_for_ready=True).ticket.ticket_id

    def ticket(self, ticket_id: str) -> ticket_pb2.Ticket:
        """Read a ticket."""
        request = intake.GetTicketRequest(ticket_id=ticket_id)
        return self._city.intake.GetTicket(request, metadata=self.metadata, timeout=_TIMEOUT).ticket

    def until(self, ticket_id: str, state: str, *, epoch: int | None = None, within: float = 60) -> ticket_pb2.Ticket:
        """Return the ticket once it is in a state (and, if given, in an epoch)."""
        wanted = ticket_pb2.TicketState.Value(f"TICKET_STATE_{state}")

        def there() -> ticket_pb2.Ticket | None:
            ticket = self.ticket(ticket_id)
            return ticket if ticket.state == wanted and epoch in {None, ticket.dispatch_epoch} else None

        def otherwise() -> str:
            return f"{state} of {ticket_id}; it is {ticket_pb2.TicketState.Name(self.ticket(ticket_id).state)}"

        return eventually(there, otherwise, within=within)

    def changes(self, ticket_id: str, until: str, *, after: int = 0) -> list[ticket_pb2.TicketChange]:
        """Watch a ticket until a change of kind `until`; returns the changes, that one included."""
        request = intake.WatchTicketRequest(ticket_id=ticket_id, after_version=after)
        stream = self._city.intake.WatchTicket(request, metadata=self.metadata, timeout=60)
        changes = []
        for response in stream:
            changes.append(response.change)
            if response.change.kind == until:
                break
        stream.cancel()
        return changes

    def supplement(self, ticket_id: str, text: str) -> ticket_pb2.Ticket:
        """Add material."""
        request = intake.SupplementTicketRequest(
            ticket_id=ticket_id, request_id=uuid.uuid4().hex, text=text, attachment_refs=["portal://1"]
        )
        return self._city.intake.SupplementTicket(request, metadata=self.metadata, timeout=_TIMEOUT).ticket

    def withdraw(self, ticket_id: str) -> ticket_pb2.Ticket:
        """Take the request back."""
        request = intake.WithdrawTicketRequest(ticket_id=ticket_id, reason="已自行解决")
        return self._city.intake.WithdrawTicket(request, metadata=self.metadata, timeout=_TIMEOUT).ticket

    def rate(self, ticket_id: str, solved: ticket_pb2.Solved.ValueType, score: int) -> ticket_pb2.Ticket:
        """Rate the result."""
        request = intake.RateTicketRequest(ticket_id=ticket_id, solved=solved, score=score, comment="很快")
        return self._city.intake.RateTicket(request, metadata=self.metadata, timeout=_TIMEOUT).ticket

    def reopen(self, ticket_id: str) -> ticket_pb2.Ticket:
        """Send the ticket back to work."""
        request = intake.ReopenTicketRequest(ticket_id=ticket_id, reason="第二天又坏了")
        return self._city.intake.ReopenTicket(request, metadata=self.metadata, timeout=_TIMEOUT).ticket

    def deadline(self, ticket_id: str, kind: str = "RESOLUTION", cycle: int = 0) -> deadline_pb2.Deadline | None:
        """Read a deadline of a ticket; None if the SLA service does not have it yet."""
        answer = self._city.sla.GetDeadlines(sla.GetDeadlinesRequest(ticket_id=ticket_id), metadata=self.metadata, timeout=_TIMEOUT)
        number = deadline_pb2.DeadlineKind.Value(f"DEADLINE_KIND_{kind}")
        return next((each for each in answer.deadlines if (each.kind, each.cycle) == (number, cycle)), None)

    def until_deadline(self, ticket_id: str, state: str, kind: str = "RESOLUTION", cycle: int = 0) -> deadline_pb2.Deadline:
        """Return a deadline once it is in a state."""
        wanted = deadline_pb2.DeadlineState.Value(f"DEADLINE_STATE_{state}")

        def there() -> deadline_pb2.Deadline | None:
            try:
                deadline = self.deadline(ticket_id, kind, cycle)
            except grpc.RpcError as error:
                # The SLA service may not have heard of the ticket yet.
                if error.code() is not grpc.StatusCode.NOT_FOUND:
                    raise
                return None
            return deadline if deadline is not None and deadline.state == wanted else None

        return eventually(there, f"{kind} deadline {state} of {ticket_id}")


class Unit:
    """A unit with a system of its own: it reads its topic and answers on the other."""

    def __init__(self, city: City, code: str) -> None:
        self._city = city
        self.code = code
        self.metadata = city.token(Role.UNIT, code)

    def told(self, ticket_id: str, body: str, *, count: int = 1) -> list[dict[str, Any]]:
        """Return the messages of a kind about a ticket once there are `count` of them."""

        def there() -> list[dict[str, Any]] | None:
            messages = self._city.messages(ticket_id, self.code, body)
            return messages if len(messages) >= count else None

        return eventually(there, lambda: f"{body} for {self.code} about {ticket_id}; told {self._city.messages(ticket_id)}")

    def order(self, ticket_id: str, *, epoch: int = 1) -> dict[str, Any]:
        """Return the order of an epoch once it is there."""

        def there() -> dict[str, Any] | None:
            orders = self._city.messages(ticket_id, self.code, "order")
            return next((order for order in orders if order["epoch"] == epoch), None)

        return eventually(there, lambda: f"order for {self.code} about {ticket_id}; told {self._city.messages(ticket_id)}")

    def answer(self, ticket_id: str, epoch: int, **action: Any) -> str:
        """Send a receipt; returns its id."""
        receipt_id = uuid.uuid4().hex
        self.send(json.dumps({"receiptId": receipt_id, "ticketId": ticket_id, "epoch": epoch, **action}, ensure_ascii=False).encode())
        return receipt_id

    def send(self, value: bytes) -> None:
        """Put bytes on the unit's topic."""
        producer = KafkaProducer(bootstrap_servers=self._city.bootstrap, api_version=(2, 6))
        producer.send(f"receipts.{self.code}.v1", value).get(timeout=10)
        producer.close(timeout=5)

    def dispatch(self, ticket_id: str) -> dispatch_pb2.Dispatch:
        """Read the dispatch of a ticket."""
        request = dispatcher.GetDispatchRequest(ticket_id=ticket_id)
        return self._city.dispatcher.GetDispatch(request, metadata=self.metadata, timeout=_TIMEOUT).dispatch

    def contact(self, ticket_id: str) -> intake.GetContactResponse:
        """Read the contact of a ticket."""
        return self._city.intake.GetContact(intake.GetContactRequest(ticket_id=ticket_id), metadata=self.metadata, timeout=_TIMEOUT)


class Desk:
    """The triage desk."""

    def __init__(self, city: City) -> None:
        self._city = city
        self.metadata = city.desk

    def item(self, ticket_id: str) -> dispatch_pb2.TriageItem:
        """Return what waits for the desk about a ticket, once it does."""
        request = dispatcher.ListTriageRequest(page_size=200)

        def there() -> dispatch_pb2.TriageItem | None:
            items = self._city.dispatcher.ListTriage(request, metadata=self.metadata, timeout=_TIMEOUT).items
            return next((item for item in items if item.ticket_id == ticket_id), None)

        return eventually(there, f"item of {ticket_id} on the desk")

    def assign(self, ticket_id: str, unit: str, *, class_code: str = "", note: str = "") -> dispatch_pb2.Dispatch:
        """Give a ticket to a unit."""
        assignment = dispatcher.TriageAssignment(unit=unit, class_code=class_code, note=note)
        return self._decide(dispatcher.DecideTriageRequest(ticket_id=ticket_id, assign=assignment))

    def decline(self, ticket_id: str, reason: str, right_channel: str) -> dispatch_pb2.Dispatch:
        """Decline a ticket."""
        decline = dispatcher.TriageDecline(reason=reason, right_channel=right_channel)
        return self._decide(dispatcher.DecideTriageRequest(ticket_id=ticket_id, decline=decline))

    def transfer(self, ticket_id: str, epoch: int, unit: str) -> dispatch_pb2.Dispatch:
        """Move a ticket to another unit."""
        request = dispatcher.TransferRequest(ticket_id=ticket_id, epoch=epoch, unit=unit, reason="职责调整")
        return self._city.dispatcher.Transfer(request, metadata=self.metadata, timeout=_TIMEOUT).dispatch

    def grant(self, ticket_id: str, *, workdays: int = 0) -> dispatch_pb2.Dispatch:
        """Grant an extension once it was asked for."""

        def asked() -> bool:
            request = dispatcher.GetDispatchRequest(ticket_id=ticket_id)
            dispatch = self._city.dispatcher.GetDispatch(request, metadata=self.metadata, timeout=_TIMEOUT).dispatch
            return dispatch.HasField("pending_extension")

        eventually(asked, f"extension asked for of {ticket_id}")
        request = dispatcher.DecideExtensionRequest(ticket_id=ticket_id, granted=True, workdays=workdays, note="同意")
        return self._city.dispatcher.DecideExtension(request, metadata=self.metadata, timeout=_TIMEOUT).dispatch

    def _decide(self, request: dispatcher.DecideTriageRequest) -> dispatch_pb2.Dispatch:
        return self._city.dispatcher.DecideTriage(request, metadata=self.metadata, timeout=_TIMEOUT).dispatch
