"""Unit stubs: all units' own systems, which read their topics and answer on them, also while brokers come and go."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

from chassis.producer import Producer
from tests.fault.ledger import Plan, Receipt

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.fault.ledger import Ledger
    from tests.support.city import City
    from tests.support.tap import Seen

_PAUSE_SECONDS = 0.01
_RETRY_SECONDS = 0.3
_API_VERSION = (2, 6)


class Units:
    """Acts by the plan of each ticket, on each message once; messages about tickets of nobody's run are let be."""

    def __init__(self, city: City) -> None:
        self._city = city
        self._lock = threading.Lock()
        self._ledgers: list[Ledger] = []
        self._seen: set[str] = set()
        self._led: dict[tuple[str, str, int], tuple[Plan, Ledger]] = {}
        self._to_send: defaultdict[str, deque[tuple[Ledger, Receipt, dict[str, Any]]]] = defaultdict(deque)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="units", daemon=True)
        city.listen(self._read)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering."""
        self._stop.set()
        self._thread.join(20)

    def follow(self, ledger: Ledger) -> None:
        """Act on the tickets of a run."""
        with self._lock:
            self._ledgers.append(ledger)

    @property
    def unsent(self) -> int:
        """How many receipts wait."""
        with self._lock:
            return sum(len(queue) for queue in self._to_send.values())

    # Reading, in the tap's thread

    def _read(self, record: Seen) -> None:
        if not record.topic.startswith("dispatch."):
            return
        message = json.loads(record.value)
        with self._lock:
            if message["messageId"] in self._seen:
                return
            self._seen.add(message["messageId"])
            order = message.get("order", {})
            if order.get("role") == "UNIT_ROLE_LEAD":
                self._take(message, order)
            elif "cancelled" in message:
                self._lose(message)

    def _take(self, message: dict[str, Any], order: dict[str, Any]) -> None:
        ticket_id, unit, epoch = message["ticketId"], message["unit"], message["epoch"]
        found = next(((plan, ledger) for ledger in self._ledgers if (plan := ledger.plan_of(order["text"])) is not None), None)
        if found is None:
            return
        self._led[ticket_id, unit, epoch] = found
        plan, ledger = found
        if plan is Plan.RETURN and epoch == 1:
            other = "zfcxjw" if unit != "zfcxjw" else "jjxxw"
            # Of the reasons the one from which nothing is learned about who keeps what: the next tickets go the same way.
            action = {"reason": "RETURN_REASON_WRONG_DISTRICT", "suggestedUnit": other, "note": "不在本单位辖区"}
            self._queue(ledger, message, "return", action["note"], action)
        elif plan is not Plan.LATE:
            self._queue(ledger, message, "accept", "", {})
            for note in ("已联系企业", "已到现场"):
                self._queue(ledger, message, "reportProgress", note, {"note": note})
            self._queue(ledger, message, "resolve", "已办妥", {"resolution": "已办妥"})

    def _lose(self, message: dict[str, Any]) -> None:
        plan, ledger = self._led.get((message["ticketId"], message["unit"], message["epoch"]), (None, None))
        if plan is Plan.LATE and ledger is not None:
            self._queue(ledger, message, "accept", "", {}, stale=True)
            self._queue(ledger, message, "resolve", "迟到的办结", {"resolution": "迟到的办结"}, stale=True)

    def _queue(self, ledger: Ledger, message: dict[str, Any], action: str, note: str, body: dict[str, Any], *, stale: bool = False) -> None:
        receipt = Receipt(uuid.uuid4().hex, message["unit"], message["ticketId"], message["epoch"], action, note, stale)
        value = {"receiptId": receipt.receipt_id, "ticketId": receipt.ticket_id, "epoch": receipt.epoch, action: body}
        self._to_send[receipt.ticket_id].append((ledger, receipt, value))

    # Sending, in a thread of its own

    def _run(self) -> None:
        producer = Producer({"bootstrap_servers": self._city.bootstrap}, client_id="fault-units")
        while not self._stop.is_set():
            sent, failed = self._send_round(producer)
            if failed:
                time.sleep(_RETRY_SECONDS)
            elif not sent:
                time.sleep(_PAUSE_SECONDS)
        producer.close()

    def _send_round(self, producer: Producer) -> tuple[int, int]:
        """Send the next receipt of each ticket, and return how many were acknowledged and how many were not.

        A receipt that fails stays where it is, before those that follow it.
        """
        with self._lock:
            heads = [(ticket_id, queue[0]) for ticket_id, queue in self._to_send.items() if queue]
        records = [
            (f"receipts.{receipt.unit}.v1", receipt.ticket_id, json.dumps(value, ensure_ascii=False).encode(), [])
            for _, (_, receipt, value) in heads
        ]
        outcomes = producer.send(records)
        for (ticket_id, (ledger, receipt, _)), error in zip(heads, outcomes, strict=True):
            if error is None:
                ledger.sent(receipt)
                with self._lock:
                    self._to_send[ticket_id].popleft()
        failed = sum(error is not None for error in outcomes)
        return len(heads) - failed, failed


def settle(city: City, units: Units, ticket_ids: Collection[str], *, within: float = 90) -> None:
    """Wait until nothing is under way in the system or at the units, and none of these tickets waits for a decision."""

    def busy() -> str:
        if units.unsent:
            return f"{units.unsent} receipts to send"
        waiting = city.waiting_for_decision(ticket_ids)
        return f"{waiting} tickets wait for a decision" if waiting else ""

    city.wait_quiet(busy, within=within)
