"""Clients that share nothing with us: one knows only what the server tells of itself, one only Kafka and JSON."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from kafka import KafkaConsumer, KafkaProducer

from paidan.intake.v1 import ticket_pb2
from tests.support.requests import CONTACT, CUSTOMS, ENTERPRISE, FREIGHT, PHONE, POWER, USCC, unique
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.actors import Portal, Unit
    from tests.support.city import City

    Units = Callable[[str], Unit]

README = Path(__file__).parents[2] / "README.md"
_TIMEOUT = 20
_RECEIPTS = "receipts.jtysw.v1"


def test_a_client_that_knows_only_reflection_submits_a_ticket_and_watches_it(city: City, portal: Portal, unit: Units) -> None:
    with grpc.insecure_channel(city.stack.services["intake"].address) as channel:
        stranger = _Reflected(channel, "paidan.intake.v1.IntakeService")
        request = {
            "request_id": uuid.uuid4().hex,
            "enterprise": {"uscc": USCC, "name": ENTERPRISE},
            "contact": {"name": CONTACT, "phone": PHONE},
            "text": unique(CUSTOMS.text),
            "channel": "CHANNEL_APP",
        }

        submitted = stranger.call("SubmitTicket", request, portal.metadata)
        again = stranger.call("SubmitTicket", request, portal.metadata)
        changes = stranger.stream("WatchTicket", {"ticket_id": submitted.ticket.number}, portal.metadata)
        unit(CUSTOMS.lead).order(submitted.ticket.ticket_id)
        unit(CUSTOMS.lead).answer(submitted.ticket.ticket_id, 1, accept={})
        told = [response.change.kind for response in _until(changes, "accepted")]

    assert (submitted.duplicate, again.duplicate) == (False, True)
    assert again.ticket.ticket_id == submitted.ticket.ticket_id
    assert [kind for kind in told if kind != "due_time_set"] == ["submitted", "dispatched", "accepted"]


def test_buf_curl_submits_as_the_readme_shows(city: City, portal: Portal) -> None:
    command = re.search(r"^\.venv/bin/(buf curl .+?SubmitTicket)$", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert command is not None
    _, token = dict(portal.metadata)["authorization"].split(" ")
    shown = command.group(1).replace("127.0.0.1:50051", city.stack.services["intake"].address).replace("my-1", uuid.uuid4().hex)

    said = subprocess.run(
        ["sh", "-c", str(Path(sys.executable).with_name("buf")) + shown.removeprefix("buf")],
        env={**os.environ, "TOKEN": token},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert said.returncode == 0, said.stderr
    assert portal.until(json.loads(said.stdout)["ticket"]["ticketId"], "DISPATCHED").lead_unit


def test_every_service_tells_of_itself(city: City) -> None:
    found = {}
    for name, service in city.stack.services.items():
        with grpc.insecure_channel(service.address) as channel:
            found[name] = set(ProtoReflectionDescriptorDatabase(channel).get_services())

    for name, services in found.items():
        assert f"paidan.{name}.v1.{name.capitalize()}Service" in services
        assert "grpc.health.v1.Health" in services


def test_a_plain_kafka_client_reads_its_orders_and_answers_them(city: City, portal: Portal) -> None:
    ticket_id = portal.submit(FREIGHT)

    order = _read_order(city.bootstrap, ticket_id)
    for action in ({"accept": {}}, {"resolve": {"resolution": "通行证已办好"}}):
        receipt = {"receiptId": uuid.uuid4().hex, "ticketId": ticket_id, "epoch": order["epoch"], **action}
        _write(city.bootstrap, _RECEIPTS, json.dumps(receipt, ensure_ascii=False).encode())
    ticket = portal.until(ticket_id, "RESOLVED")

    assert (order["unit"], order["order"]["role"], order["order"]["classNameZh"]) == ("jtysw", "UNIT_ROLE_LEAD", "货运物流与通行许可")
    assert ticket.resolution == "通行证已办好"


def test_kcat_reads_and_answers_as_well(city: City, portal: Portal, kcat: str) -> None:
    ticket_id = portal.submit(FREIGHT)
    portal.until(ticket_id, "DISPATCHED")

    said = subprocess.run(
        [kcat, "-C", "-e", "-q", "-b", city.bootstrap, "-t", "dispatch.jtysw.v1", "-o", "beginning"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    orders = [message for line in said.splitlines() if (message := json.loads(line))["ticketId"] == ticket_id and "order" in message]
    receipt = json.dumps({"receiptId": uuid.uuid4().hex, "ticketId": ticket_id, "epoch": orders[0]["epoch"], "accept": {}})
    subprocess.run([kcat, "-P", "-b", city.bootstrap, "-t", _RECEIPTS], input=receipt, text=True, check=True, timeout=60)

    assert portal.until(ticket_id, "ACCEPTED").lead_unit == "jtysw"


def test_the_same_receipt_twice_has_one_effect(city: City, portal: Portal, unit: Units) -> None:
    ticket_id = portal.submit(FREIGHT)
    unit(FREIGHT.lead).order(ticket_id)
    receipt = {"receiptId": uuid.uuid4().hex, "ticketId": ticket_id, "epoch": 1, "reportProgress": {"note": "已受理通行证申请"}}

    unit(FREIGHT.lead).send(json.dumps(receipt).encode())
    unit(FREIGHT.lead).send(json.dumps(receipt).encode())
    unit(FREIGHT.lead).answer(ticket_id, 1, resolve={"resolution": "已办"})
    kinds = [change.kind for change in portal.changes(ticket_id, until="resolved")]

    assert kinds.count("progress") == 1
    assert city.messages(ticket_id, FREIGHT.lead, "refused") == []


def test_garbage_on_a_receipts_topic_becomes_a_dead_letter_and_its_sender_is_told(city: City, portal: Portal, unit: Units) -> None:
    ticket_id = portal.submit(POWER)
    unit(POWER.lead).order(ticket_id)
    garbage = f"{{这不是 JSON {uuid.uuid4().hex}".encode()

    unit(POWER.lead).send(garbage)
    unit(POWER.lead).answer(ticket_id, 1, accept={})
    portal.until(ticket_id, "ACCEPTED")
    letter = eventually(lambda: [each for each in city.dead_letters() if each.value == garbage], "dead letter")[0]
    refusals = eventually(lambda: _refusals(city, POWER.lead), f"refusal for {POWER.lead}")

    assert letter.topic == f"receipts.{POWER.lead}.v1.dlq"
    assert letter.headers["dlq_reason"] == "UNREADABLE"
    assert (letter.headers["dlq_topic"], letter.headers["dlq_consumer"]) == (f"receipts.{POWER.lead}.v1", "paidan-dispatcher")
    assert "ERROR_REASON_UNREADABLE" in {refusal["reason"] for refusal in refusals}


def test_another_unit_s_receipt_about_a_ticket_changes_nothing(city: City, portal: Portal, unit: Units) -> None:
    ticket_id = portal.submit(CUSTOMS)
    unit(CUSTOMS.lead).order(ticket_id)
    stranger = unit("500243")

    receipt_id = stranger.answer(ticket_id, 1, resolve={"resolution": "别人的工单"})
    refusal = eventually(
        lambda: [each for each in _refusals(city, "500243") if each["receiptId"] == receipt_id], "refusal for the stranger"
    )[0]
    unit(CUSTOMS.lead).answer(ticket_id, 1, accept={})
    kinds = [change.kind for change in portal.changes(ticket_id, until="accepted")]

    assert refusal["reason"] == "ERROR_REASON_DISPATCH_NOT_FOUND"
    assert "resolved" not in kinds
    assert portal.ticket(ticket_id).state == ticket_pb2.TICKET_STATE_ACCEPTED


class _Reflected:
    """Calls a service by what its server tells of it."""

    def __init__(self, channel: grpc.Channel, service: str) -> None:
        self._channel = channel
        self._service = DescriptorPool(ProtoReflectionDescriptorDatabase(channel)).FindServiceByName(service)

    def call(self, method: str, request: dict[str, Any], metadata: Any) -> Any:
        return self._channel.unary_unary(*self._types(method))(self._request(method, request), metadata=metadata, timeout=_TIMEOUT)

    def stream(self, method: str, request: dict[str, Any], metadata: Any) -> Any:
        return self._channel.unary_stream(*self._types(method))(self._request(method, request), metadata=metadata, timeout=60)

    def _types(self, method: str) -> tuple[str, Any, Any]:
        output = GetMessageClass(self._service.methods_by_name[method].output_type)
        return f"/{self._service.full_name}/{method}", lambda message: message.SerializeToString(), output.FromString

    def _request(self, method: str, fields: dict[str, Any]) -> Any:
        return GetMessageClass(self._service.methods_by_name[method].input_type)(**fields)


def _until(stream: Any, kind: str) -> list[Any]:
    responses = []
    for response in stream:
        responses.append(response)
        if response.change.kind == kind:
            break
    stream.cancel()
    return responses


def _read_order(bootstrap: str, ticket_id: str) -> dict[str, Any]:
    """Read the unit's topic as its own system would: in a group of its own, with nothing but JSON."""
    consumer = KafkaConsumer(
        "dispatch.jtysw.v1",
        bootstrap_servers=bootstrap,
        group_id=f"jtysw-office-{uuid.uuid4().hex}",
        auto_offset_reset="earliest",
    )
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for records in consumer.poll(timeout_ms=200).values():
                for record in records:
                    message = json.loads(record.value)
                    if message["ticketId"] == ticket_id and "order" in message:
                        return message
    finally:
        consumer.close()
    raise AssertionError(f"no order about {ticket_id} within 60 s")


def _write(bootstrap: str, topic: str, value: bytes) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    producer.send(topic, value).get(timeout=10)
    producer.close()


def _refusals(city: City, unit: str) -> list[dict[str, Any]]:
    """Return what a unit was told to be refused, about whatever ticket, also where no ticket could be read."""
    messages = [json.loads(each.value) for each in city.all_records() if each.topic == f"dispatch.{unit}.v1"]
    return [message["refused"] for message in messages if "refused" in message]
