"""A storm: portals, units and the desk do at random whatever they may, while services die at random.

What comes of a ticket depends on who was first. What must hold is that at rest the services agree on it.
"""

from __future__ import annotations

import json
import random
import threading
import uuid
from typing import TYPE_CHECKING, Any

import grpc

from paidan.dispatcher.v1 import dispatch_pb2
from paidan.dispatcher.v1 import dispatcher_service_pb2 as dispatcher
from paidan.intake.v1 import intake_service_pb2 as intake
from paidan.intake.v1 import ticket_pb2
from tests.fault.checks import I2, I8, Violation
from tests.support.requests import MATTERS, submission, unique

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.support.city import City
    from tests.support.tap import Seen

_TIMEOUT = 5
_PATIENCE = 60
_UNITS = ("jjxxw", "kjj", "zfcxjw", "scjgj", "500107", "500106")
_REASONS = ("NOT_OUR_COMPETENCE", "WRONG_DISTRICT", "DUPLICATE", "INSUFFICIENT_INFORMATION")
_PAUSE_SECONDS = 0.15

State = ticket_pb2.TicketState


class Storm:
    """Everybody at once. Whatever is refused or lost on the way is let be: the next round does something else."""

    def __init__(self, city: City, *, seed: int) -> None:
        self._city = city
        self._dice = random.Random(seed)
        self.portal = city.new_portal()
        self._metadata = city.token_of_portal(self.portal)
        self._lock = threading.Lock()
        self._orders: list[dict[str, Any]] = []
        self._texts: set[str] = set()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(act,), daemon=True, name=act.__name__)
            for act in (self._submit, self._enterprises_act, self._units_act, self._desk_acts)
        ]
        self.submitted = 0
        self._producer = city.new_producer()
        city.listen(self._read)

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; what was begun goes on."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        self._producer.close(timeout=5)

    def _repeat(self, act: Callable[[], None]) -> None:
        while not self._stop.is_set():
            try:
                act()
            except grpc.RpcError as error:
                if error.code() in {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}:
                    raise
            self._stop.wait(_PAUSE_SECONDS)

    def _chance(self, share: float) -> bool:
        with self._lock:
            return self._dice.random() < share

    def _one_of(self, values: Sequence[Any]) -> Any:
        with self._lock:
            return self._dice.choice(values)

    # The portal

    def _submit(self) -> None:
        matter = self._one_of(MATTERS)
        text = unique(matter.text)
        with self._lock:
            self._texts.add(text)
        request = submission(text, uuid.uuid4().hex, district=matter.district)
        self._city.intake.SubmitTicket(request, metadata=self._metadata, timeout=_TIMEOUT)
        self.submitted += 1

    def _enterprises_act(self) -> None:
        for ticket in self._tickets():
            if ticket.state == State.TICKET_STATE_AWAITING_SUPPLEMENT and self._chance(0.5):
                self._supplement(ticket)
            elif ticket.state == State.TICKET_STATE_RESOLVED and self._chance(0.3):
                self._rate(ticket)
            elif ticket.state in {State.TICKET_STATE_RESOLVED, State.TICKET_STATE_CLOSED} and ticket.reopen_count < 2 and self._chance(0.1):
                self._try(self._city.intake.ReopenTicket, intake.ReopenTicketRequest(ticket_id=ticket.ticket_id, reason="又坏了"))
            elif ticket.state < State.TICKET_STATE_RESOLVED and self._chance(0.01):
                self._try(self._city.intake.WithdrawTicket, intake.WithdrawTicketRequest(ticket_id=ticket.ticket_id, reason="不办了"))

    def _supplement(self, ticket: ticket_pb2.Ticket) -> None:
        request = intake.SupplementTicketRequest(ticket_id=ticket.ticket_id, request_id=uuid.uuid4().hex, text="材料已上传")
        self._try(self._city.intake.SupplementTicket, request)

    def _rate(self, ticket: ticket_pb2.Ticket) -> None:
        solved = self._one_of([ticket_pb2.SOLVED_YES, ticket_pb2.SOLVED_NO])
        self._try(self._city.intake.RateTicket, intake.RateTicketRequest(ticket_id=ticket.ticket_id, solved=solved, score=3))

    def _tickets(self, *, patient: bool = False) -> Iterator[ticket_pb2.Ticket]:
        token = ""
        while True:
            request = intake.ListTicketsRequest(page_size=200, page_token=token)
            answer = self._city.intake.ListTickets(
                request, metadata=self._metadata, timeout=60 if patient else _TIMEOUT, wait_for_ready=patient
            )
            yield from answer.tickets
            token = answer.next_page_token
            if not token:
                return

    def _try(self, method: Callable[..., Any], request: Any, metadata: Any = None) -> None:
        try:
            method(request, metadata=metadata or self._metadata, timeout=_TIMEOUT)
        except grpc.RpcError as error:
            if error.code() in {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}:
                raise

    # The units

    def _read(self, record: Seen) -> None:
        if not record.topic.startswith("dispatch."):
            return
        message = json.loads(record.value)
        order = message.get("order", {})
        with self._lock:
            if order.get("role") == "UNIT_ROLE_LEAD" and order["text"] in self._texts:
                self._orders.append(message)

    def _units_act(self) -> None:
        with self._lock:
            orders = list(self._orders)
        for order in orders:
            if self._chance(0.15):
                self._send(order, self._some_action())

    def _some_action(self) -> dict[str, Any]:
        suggested = self._one_of(["", *_UNITS])
        return self._one_of(
            [
                {"accept": {}},
                {"reportProgress": {"note": f"进展{uuid.uuid4().hex[:6]}"}},
                {"requestSupplement": {"question": "请补充材料"}},
                {"requestExtension": {"workdays": 2, "reason": "需要时间"}},
                {"return": {"reason": f"RETURN_REASON_{self._one_of(_REASONS)}", "suggestedUnit": suggested, "note": "退"}},
                {"resolve": {"resolution": "办妥"}},
            ],
        )

    def _send(self, order: Mapping[str, Any], action: Mapping[str, Any]) -> None:
        receipt = {"receiptId": uuid.uuid4().hex, "ticketId": order["ticketId"], "epoch": order["epoch"], **action}
        self._producer.send(f"receipts.{order['unit']}.v1", json.dumps(receipt).encode(), order["ticketId"].encode())

    # The desk

    def _desk_acts(self) -> None:
        doors = self._city.dispatcher
        items = doors.ListTriage(dispatcher.ListTriageRequest(page_size=200), metadata=self._city.desk, timeout=_TIMEOUT).items
        for item in items:
            if item.text in self._texts and self._chance(0.4):
                self._decide(item.ticket_id)
        in_hand = [dispatch_pb2.DISPATCH_STATE_DISPATCHED, dispatch_pb2.DISPATCH_STATE_ACCEPTED]
        request = dispatcher.ListDispatchesRequest(states=in_hand, page_size=200)
        for dispatch in doors.ListDispatches(request, metadata=self._city.desk, timeout=_TIMEOUT).dispatches:
            if dispatch.text not in self._texts:
                continue
            if dispatch.HasField("pending_extension") and self._chance(0.5):
                decision = dispatcher.DecideExtensionRequest(ticket_id=dispatch.ticket_id, granted=self._chance(0.7))
                self._try(doors.DecideExtension, decision, self._city.desk)
            elif self._chance(0.02):
                unit = self._one_of(_UNITS)
                move = dispatcher.TransferRequest(ticket_id=dispatch.ticket_id, epoch=dispatch.epoch, unit=unit, reason="调整")
                self._try(doors.Transfer, move, self._city.desk)

    def _decide(self, ticket_id: str) -> None:
        if self._chance(0.15):
            decline = dispatcher.TriageDecline(reason="不予受理", right_channel="12345")
            request = dispatcher.DecideTriageRequest(ticket_id=ticket_id, decline=decline)
        else:
            assign = dispatcher.TriageAssignment(unit=self._one_of(_UNITS))
            request = dispatcher.DecideTriageRequest(ticket_id=ticket_id, assign=assign)
        self._try(self._city.dispatcher.DecideTriage, request, self._city.desk)

    # The judgement

    def ticket_ids(self) -> list[str]:
        """Return what is stored."""
        return [ticket.ticket_id for ticket in self._tickets(patient=True)]

    def disagreements(self) -> list[Violation]:
        """Return where the services do not agree, at rest."""
        tickets = list(self._tickets(patient=True))
        ids = [ticket.ticket_id for ticket in tickets]
        held = self._city.query("SELECT * FROM dispatcher.dispatch WHERE ticket_id = ANY(:ids)", ids=ids)
        dispatches = {row.ticket_id: row for row in held}
        deadlines = {
            (row.ticket_id, row.cycle): row
            for row in self._city.query("SELECT * FROM sla.deadline WHERE kind = 'resolution' AND ticket_id = ANY(:ids)", ids=ids)
        }
        found: list[Violation] = []
        for ticket in tickets:
            deadline = deadlines.get((ticket.ticket_id, ticket.reopen_count))
            found += _disagreement(ticket, dispatches.get(ticket.ticket_id), deadline)
        return found


_SAME = {
    State.TICKET_STATE_DISPATCHED: ("DISPATCHED", {"running"}),
    State.TICKET_STATE_ACCEPTED: ("ACCEPTED", {"running"}),
    State.TICKET_STATE_AWAITING_SUPPLEMENT: ("AWAITING_SUPPLEMENT", {"paused"}),
    State.TICKET_STATE_RESOLVED: ("RESOLVED", {"met"}),
    State.TICKET_STATE_CLOSED: ("RESOLVED", {"met"}),
    # A unit may have resolved what the enterprise took back before it heard of that.
    State.TICKET_STATE_WITHDRAWN: ("WITHDRAWN", {"cancelled", "met"}),
    State.TICKET_STATE_DECLINED: ("DECLINED", {"cancelled"}),
}
"""State at intake → state at the dispatcher, and what the clock of the resolution may show."""

_OPEN = {State.TICKET_STATE_DISPATCHED, State.TICKET_STATE_ACCEPTED, State.TICKET_STATE_AWAITING_SUPPLEMENT}


def _disagreement(ticket: ticket_pb2.Ticket, dispatch: Any, deadline: Any) -> Iterator[Violation]:
    name = State.Name(ticket.state)
    if dispatch is None or deadline is None:
        yield Violation(I8, ticket.ticket_id, f"intake {name}, dispatcher {dispatch}, sla {deadline}")
        return
    state, clocks = _SAME.get(ticket.state, ("", set()))
    if dispatch.state != state or deadline.state not in clocks:
        yield Violation(I2, ticket.ticket_id, f"intake {name}, dispatcher {dispatch.state}, sla {deadline.state}")
    lead = (dispatch.assignment or {}).get("lead", "")
    if ticket.state in _OPEN:
        if (ticket.lead_unit, ticket.dispatch_epoch) != (lead, dispatch.epoch):
            yield Violation(I2, ticket.ticket_id, f"intake {ticket.lead_unit} {ticket.dispatch_epoch}, dispatcher {lead} {dispatch.epoch}")
        due = ticket.due_time.ToDatetime().isoformat() if ticket.HasField("due_time") else None
        others = [None if each is None else each.replace(tzinfo=None).isoformat() for each in (dispatch.due_time, deadline.due_time)]
        if others != [due, due]:
            yield Violation(I2, ticket.ticket_id, f"{name}: due by intake {due}, dispatcher and sla {others}")
    if deadline.unit != lead and ticket.state in _OPEN:
        yield Violation(I2, ticket.ticket_id, f"dispatcher's lead is {lead}, sla's {deadline.unit}")
