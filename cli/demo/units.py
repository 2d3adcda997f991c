"""Departments' and districts' own systems, as strangers would write them: Kafka clients of their own, and JSON."""

from __future__ import annotations

import json
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

from kafka import KafkaConsumer, KafkaProducer

from chassis.kafka_records import CONSUMER_OPTIONS
from chassis.message import Unreadable
from cli.demo.city import RESULT_WORDS, City, Lead, method_of
from cli.demo.script import OUT_OF_SCOPE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cli.demo.city import Entry

_WORK_SECONDS = 0.8
_READY_SECONDS = 60


class Units:
    """All units of the city: they accept and resolve, and do what the script says."""

    def __init__(self, city: City, client_options: Mapping[str, Any]) -> None:
        self._city = city
        self._options = dict(client_options)
        self._seen: set[str] = set()
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._later: list[tuple[float, str, dict[str, Any]]] = []
        self._thread = threading.Thread(target=self._run, name="units", daemon=True)
        self.duplicates = 0
        self.garbage_sent = 0

    def start(self) -> None:
        """Begin to read; returns when the units listen."""
        self._thread.start()
        if not self._ready.wait(_READY_SECONDS):
            message = f"the units' consumer got no partitions within {_READY_SECONDS} s"
            raise TimeoutError(message)

    def stop(self) -> None:
        """Stop reading."""
        self._stop.set()
        self._thread.join(15)

    def _run(self) -> None:
        topics = [unit.dispatch_topic for unit in self._city.units.values()]
        consumer = KafkaConsumer(*topics, **CONSUMER_OPTIONS, **self._options, group_id="demo-units", auto_offset_reset="earliest")
        producer = KafkaProducer(**self._options)
        try:
            while not self._stop.is_set():
                for records in consumer.poll(timeout_ms=100).values():
                    for record in records:
                        self._read(record)
                if consumer.assignment():
                    self._ready.set()
                self._send_due(producer)
        except Exception as error:  # noqa: BLE001 - told in the summary
            self._city.problems.append(f"the units' system failed: {type(error).__name__}: {error}")
        finally:
            producer.close(timeout=5)
            consumer.close(autocommit=True)

    def _read(self, record: Any) -> None:  # noqa: ANN401 - the library's record
        if isinstance(record.value, Unreadable):
            self._city.problems.append(f"{record.topic}: skipped, {record.value.detail}")
            return
        message = json.loads(record.value)
        if message["messageId"] in self._seen:
            self.duplicates += 1
            return
        self._seen.add(message["messageId"])
        unit, ticket_id = message["unit"], message.get("ticketId", "")
        if record.topic != f"dispatch.{unit}.v1":
            self._city.problems.append(f"a message for {unit} was on {record.topic}")
        if "order" in message and message["order"]["role"] == "UNIT_ROLE_LEAD":
            order = message["order"]
            method = method_of(order["method"])
            self._city.seen(ticket_id, Lead(unit, message["epoch"], method, order.get("classCode", ""), record.timestamp / 1000))
            self._plan(unit, ticket_id, message["epoch"], order)
        elif "deadline" in message and message["deadline"].get("dueTime"):
            self._city.seen(ticket_id, None, message["deadline"]["dueTime"])
        elif "supplement" in message:
            self._after(_WORK_SECONDS, unit, ticket_id, message["epoch"], {"resolve": {"resolution": "材料已补齐，" + RESULT_WORDS}})
        elif "extension" in message:
            self._after(_WORK_SECONDS, unit, ticket_id, message["epoch"], {"resolve": {"resolution": "延期后" + RESULT_WORDS}})
        elif "refused" in message:
            self._city.refusals.append(message["refused"]["reason"])

    def _plan(self, unit: str, ticket_id: str, epoch: int, order: dict[str, Any]) -> None:
        """Decide what the unit does with an order."""
        entry = self._wait_for(ticket_id)
        if entry is None:
            self._city.problems.append(f"{unit} got a ticket that nobody submitted: {ticket_id}")
            return
        if unit == "dutydesk":
            return  # A person at the desk decides, see `desk.py`.
        request = entry.request
        wrong = self._better_unit(entry, unit, order)
        if request.play == "wrong_district" and epoch == 1:
            self._after(0.2, unit, ticket_id, epoch, _returned("WRONG_DISTRICT", request.argument, "地址在对方辖区"))
        elif request.play == "return_plain" and epoch == 1:
            self._after(0.2, unit, ticket_id, epoch, _returned("INSUFFICIENT_INFORMATION", "", "说不清是哪个系统，请分拨"))
        elif wrong and epoch == 1:
            self._after(0.2, unit, ticket_id, epoch, _returned("NOT_OUR_COMPETENCE", wrong, "不属于我单位职责"))
        else:
            self._accept(entry, unit, epoch)

    def _accept(self, entry: Entry, unit: str, epoch: int) -> None:
        ticket_id, play = entry.ticket_id, entry.request.play
        receipt = self._after(0.2, unit, ticket_id, epoch, {"accept": {}})
        if play == "twice":
            # The same receipt again: it must have no second effect.
            self._later.append((time.monotonic() + 0.4, unit, receipt))
        if play == "supplement":
            self._after(0.5, unit, ticket_id, epoch, {"requestSupplement": {"question": "请补充不动产权证复印件和总平面图"}})
        elif play == "extension":
            wish = {"requestExtension": {"workdays": 2, "reason": "外线施工需协调占道，请求延长"}}
            self._after(0.5, unit, ticket_id, epoch, wish)
            self._later.append((time.monotonic() + 0.6, unit, {"garbage": True}))
        elif play == "withdraw":
            self._after(0.3, unit, ticket_id, epoch, {"reportProgress": {"note": "已安排专人联系企业"}})
        else:
            self._after(_WORK_SECONDS, unit, ticket_id, epoch, {"resolve": {"resolution": RESULT_WORDS}})

    def _better_unit(self, entry: Entry, unit: str, order: dict[str, Any]) -> str:
        """Return the unit that an expert would name instead, or nothing."""
        request = entry.request
        if request.play == "return_suggest":
            return self._city.classes[request.class_code].lead_unit
        if request.class_code in {"", OUT_OF_SCOPE, order.get("classCode", "")}:
            return ""
        expert = self._city.expert_unit(request.class_code, order.get("districtCode", ""))
        return "" if expert == unit else expert

    def _wait_for(self, ticket_id: str) -> Entry | None:
        """An order may come before the portal has noted the answer to its submission."""
        for _ in range(50):
            entry = self._city.entry(ticket_id)
            if entry is not None:
                return entry
            time.sleep(0.02)
        return None

    def _after(self, seconds: float, unit: str, ticket_id: str, epoch: int, action: dict[str, Any]) -> dict[str, Any]:
        receipt = {"receiptId": uuid.uuid4().hex, "ticketId": ticket_id, "epoch": epoch, **action}
        self._later.append((time.monotonic() + seconds, unit, receipt))
        return receipt

    def _send_due(self, producer: KafkaProducer) -> None:
        now = time.monotonic()
        due = sorted((item for item in self._later if item[0] <= now), key=lambda item: item[0])
        self._later = [item for item in self._later if item[0] > now]
        futures = []
        for _, unit, receipt in due:
            garbage = "garbage" in receipt
            self.garbage_sent += garbage
            value = b"{this is no JSON" if garbage else json.dumps(receipt, ensure_ascii=False).encode()
            headers = [("content-type", b"application/json")]
            futures.append(producer.send(f"receipts.{unit}.v1", value, receipt.get("ticketId", unit).encode(), headers))
        for future in futures:
            future.get(10)


def _returned(reason: str, suggested: str, note: str) -> dict[str, Any]:
    return {"return": {"reason": f"RETURN_REASON_{reason}", "suggestedUnit": suggested, "note": note}}
