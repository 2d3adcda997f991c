"""The AsyncAPI document, the protobuf contract and what the dispatcher writes and reads tell the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml  # type: ignore[import-untyped]  # no stubs are pinned
from google.protobuf import json_format

from chassis.message import new_id
from paidan.dispatcher.v1 import dispatch_pb2, dispatcher_service_pb2, unit_messages_pb2
from services.dispatcher.adapters.events import Announcer, dispatch_topic, receipts_topic, refused_message
from services.dispatcher.adapters.receipts import read_receipt
from services.dispatcher.domain import commands, events
from services.dispatcher.domain.checks import MAX_CODE
from services.dispatcher.domain.values import (
    Assignment,
    CancelReason,
    DeadlineChange,
    Method,
    ReturnReason,
    State,
    Supplement,
    TriageReason,
    UnitCode,
)
from tests.unit.dispatcher.builders import CATALOGUE, INDUSTRY, NOON, POLICY, TICKET_ID, YUZHONG, decision, dispatched, submitted, ticket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor import Descriptor, EnumDescriptor

    from services.dispatcher.domain.events import Event

DOCUMENT: dict[str, Any] = yaml.safe_load((Path(__file__).parents[3] / "docs" / "asyncapi.yaml").read_text(encoding="utf-8"))
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
WRITTEN_AND_READ = (unit_messages_pb2.UnitMessage.DESCRIPTOR, unit_messages_pb2.Receipt.DESCRIPTOR)


def messages_below(root: Descriptor) -> Iterator[Descriptor]:
    yield root
    for each in root.fields:
        if each.message_type is not None and each.message_type.full_name.startswith("paidan."):
            yield from messages_below(each.message_type)


MESSAGES = {each.name: each for root in WRITTEN_AND_READ for each in messages_below(root)}
ENUMS = {each.enum_type.name: each.enum_type for message in MESSAGES.values() for each in message.fields if each.enum_type is not None}


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_the_document_describes_every_field_of_a_message_and_no_other(message: Descriptor) -> None:
    described = SCHEMAS[message.name]

    assert set(described["properties"]) == {each.json_name for each in message.fields}
    assert set(described.get("required", ())) <= set(described["properties"])


@pytest.mark.parametrize("enum", [*ENUMS.values(), dispatcher_service_pb2.ErrorReason.DESCRIPTOR], ids=[*ENUMS, "ErrorReason"])
def test_the_document_lists_every_value_of_an_enum_that_is_sent(enum: EnumDescriptor) -> None:
    assert SCHEMAS[enum.name]["enum"] == [value.name for value in enum.values if value.number]


def test_every_reference_in_the_document_leads_somewhere() -> None:
    def references(node: Any) -> Iterator[str]:
        match node:
            case {"$ref": str(target)}:
                yield target
            case dict():
                for value in node.values():
                    yield from references(value)
            case list():
                for value in node:
                    yield from references(value)

    for target in references(DOCUMENT):
        found: Any = DOCUMENT
        for step in target.removeprefix("#/").split("/"):
            found = found[step]
        assert found


def test_the_addresses_are_the_topics_that_are_used() -> None:
    assert DOCUMENT["channels"]["dispatch"]["address"] == dispatch_topic("{unit}")
    assert DOCUMENT["channels"]["receipts"]["address"] == receipts_topic("{unit}")


def test_the_examples_of_messages_are_canonical() -> None:
    for example in DOCUMENT["components"]["messages"]["UnitMessage"]["examples"]:
        message = json_format.ParseDict(example["payload"], unit_messages_pb2.UnitMessage())

        assert message.WhichOneof("body") == example["name"]
        assert json_format.MessageToDict(message) == example["payload"]


def test_the_examples_of_receipts_are_read_as_what_they_say() -> None:
    expected = {
        "accept": commands.Accept,
        "return": commands.Return,
        "requestSupplement": commands.RequestSupplement,
        "requestExtension": commands.RequestExtension,
        "reportProgress": commands.ReportProgress,
        "resolve": commands.Resolve,
    }
    examples = {each["name"]: each["payload"] for each in DOCUMENT["components"]["messages"]["Receipt"]["examples"]}

    read = {name: type(read_receipt(UnitCode("scjgj"), json.dumps(payload).encode())) for name, payload in examples.items()}

    assert read == expected


def test_the_limits_in_the_document_are_those_of_the_code() -> None:
    receipt = SCHEMAS["Receipt"]["properties"]

    assert {receipt[name]["maxLength"] for name in ("receiptId", "ticketId")} == {MAX_CODE}
    assert SCHEMAS["ReturnAction"]["properties"]["note"]["maxLength"] == commands.MAX_NOTE
    assert SCHEMAS["ExtensionAction"]["properties"]["workdays"]["maximum"] == commands.MAX_EXTENSION
    resolve = SCHEMAS["ResolveAction"]["properties"]
    assert resolve["resolution"]["maxLength"] == commands.MAX_RESOLUTION
    assert (resolve["attachmentRefs"]["maxItems"], resolve["attachmentRefs"]["items"]["maxLength"]) == (commands.MAX_REFS, commands.MAX_REF)
    assert SCHEMAS["DispatchCancelled"]["properties"]["reason"]["enum"] == [each.value for each in CancelReason]
    assert SCHEMAS["DeadlineNotice"]["properties"]["kind"]["enum"] == [
        each.value for each in DeadlineChange if each not in {DeadlineChange.MET, DeadlineChange.CANCELLED}
    ]


def assigned(**changed: Any) -> events.LeadAssigned:
    dispatch = submitted(**changed)
    made = decision(INDUSTRY, co_handlers=(YUZHONG,))
    dispatch.decide(made, policy=POLICY)
    dispatch.deliver(SUPPLEMENT, now=NOON)
    assert dispatch.assignment is not None
    return events.LeadAssigned(
        ticket=ticket(**changed),
        assignment=dispatch.assignment,
        decision=made,
        final=True,
        supplements=(SUPPLEMENT,),
        due_time=NOON,
        time=NOON,
    )


SUPPLEMENT = Supplement(text="见附件", attachment_refs=("a.pdf",), supplement_time=NOON)


def an_assignment() -> Assignment:
    assignment = dispatched(co_handlers=(YUZHONG,)).assignment
    assert assignment is not None
    return assignment


ANNOUNCER = Announcer(CATALOGUE)
PARTS: dict[str, Any] = {"ticket": ticket(), "time": NOON}
TOLD: dict[str, Event] = {
    "order": assigned(),
    "cancelled": events.LeadReleased(assignment=an_assignment(), reason=CancelReason.TRANSFERRED, note="", **PARTS),
    "supplement": events.SupplementArrived(assignment=an_assignment(), supplement=SUPPLEMENT, **PARTS),
    "extension": events.ExtensionSettled(epoch=1, unit=INDUSTRY, granted=True, workdays=2, note="同意", **PARTS),
    "deadline": events.DeadlineMoved(epoch=1, unit=INDUSTRY, change=DeadlineChange.PAUSED, due_time=None, **PARTS),
}


@pytest.mark.parametrize(("body", "event"), TOLD.items(), ids=TOLD)
def test_what_is_written_to_a_unit_is_canonical_protobuf_json(body: str, event: Event) -> None:
    written = [message for message in ANNOUNCER.messages(event) if message.topic.startswith("dispatch.")]

    assert written
    for message in written:
        parsed = json_format.Parse(message.data, unit_messages_pb2.UnitMessage())
        assert json.loads(message.data) == json_format.MessageToDict(parsed)
        assert set(SCHEMAS["UnitMessage"]["required"]) <= set(json.loads(message.data))
        assert message.id == parsed.message_id
        assert message.topic == dispatch_topic(parsed.unit)
        assert (message.key, parsed.ticket_id) == (TICKET_ID, TICKET_ID)
        assert message.content_type == "application/json"
    first = json_format.Parse(written[0].data, unit_messages_pb2.UnitMessage())
    assert first.WhichOneof("body") == body


def test_a_refusal_is_canonical_even_when_nothing_of_the_receipt_could_be_read() -> None:
    message = refused_message("scjgj", receipt_id="", ticket_id="", number="", reason="UNREADABLE", message="no JSON", now=NOON)

    parsed = json_format.Parse(message.data, unit_messages_pb2.UnitMessage())

    assert json.loads(message.data) == json_format.MessageToDict(parsed)
    assert message.key == "scjgj"
    assert parsed.refused.reason == "ERROR_REASON_UNREADABLE"


def test_an_order_of_a_confidential_ticket_does_not_name_the_enterprise() -> None:
    for message in ANNOUNCER.messages(assigned(confidential=True)):
        assert b"91350100M000100Y43" not in message.data
        assert "某某机械".encode() not in message.data


def test_no_contract_of_the_dispatcher_has_a_place_for_a_contact() -> None:
    fields = {each.name for message in MESSAGES.values() for each in message.fields}

    assert not {name for name in fields if "phone" in name or "contact" in name}


def test_the_units_messages_come_before_the_announcement() -> None:
    topics = [message.topic for message in ANNOUNCER.messages(assigned())]

    assert topics[-1] == "dispatcher.assignments.v1"
    assert all(topic.startswith("dispatch.") for topic in topics[:-1])
    assert len(topics) == 2 + 2 + 1 + 1


def test_ids_of_messages_are_never_used_twice() -> None:
    ids = [message.id for _ in range(3) for message in ANNOUNCER.messages(assigned())]

    assert len(set(ids)) == len(ids)
    assert new_id() not in ids


def test_every_method_and_return_reason_has_a_value_in_the_contract() -> None:
    pairs = (
        (Method, dispatch_pb2.DispatchMethod),
        (ReturnReason, dispatch_pb2.ReturnReason),
        (TriageReason, dispatch_pb2.TriageReason),
        (State, dispatch_pb2.DispatchState),
    )

    for ours, theirs in pairs:
        prefix = theirs.keys()[0].removesuffix("UNSPECIFIED")
        assert {f"{prefix}{value}" for value in ours if value is not State.UNSUBMITTED} == set(theirs.keys()[1:])
