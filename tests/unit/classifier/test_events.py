from __future__ import annotations

import dataclasses
import uuid

import pytest

from chassis.message import InMessage, InvalidMessage
from paidan.classifier.v1 import classification_pb2, events_pb2
from paidan.intake.v1 import events_pb2 as intake_pb2
from services.classifier.adapters.events import tells_of_submission, to_command, to_message, to_proto
from services.classifier.domain.classification import AbstainReason, ClassCode, DistrictCode, ModelVersion, Slot
from services.classifier.domain.events import TicketClassified
from services.classifier.domain.flags import Flag, FlagKind
from tests.unit.classifier.builders import NOW, classification


def incoming(data: bytes, *, message_id: str = "m1", kind: str = "paidan.intake.v1.TicketSubmitted") -> InMessage:
    return InMessage(
        id=message_id,
        topic="intake.tickets.v1",
        partition=2,
        offset=7,
        key="t1",
        type=kind,
        source="/paidan/intake",
        subject="t1",
        time=NOW,
        record_time=NOW,
        data=data,
        content_type="application/protobuf",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )


def classified(cause_id: str = "m1", version: str = "v1") -> TicketClassified:
    answer = dataclasses.replace(classification(), model_version=ModelVersion(version))
    return TicketClassified(cause_id=cause_id, ticket_id="t1", classification=answer, classify_time=NOW)


def test_a_submitted_ticket_becomes_a_command() -> None:
    message = incoming(intake_pb2.TicketSubmitted(ticket_id="t1", text="停电").SerializeToString())

    command = to_command(message)

    assert (command.cause_id, command.ticket_id, command.text) == ("m1", "t1", "停电")


def test_an_event_without_an_id_is_known_by_its_place_in_the_log() -> None:
    message = incoming(intake_pb2.TicketSubmitted(ticket_id="t1").SerializeToString(), message_id="")

    assert to_command(message).cause_id == "intake.tickets.v1/2/7"


def test_only_submissions_carry_a_text() -> None:
    assert tells_of_submission(incoming(b""))
    assert not tells_of_submission(incoming(b"", kind="paidan.intake.v1.TicketWithdrawn"))


@pytest.mark.parametrize(("data", "reason"), [(b"\xff\xff", "UNDECODABLE"), (b"", "INCOMPLETE")])
def test_what_can_never_be_understood_is_said_to_be_so(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidMessage) as invalid:
        to_command(incoming(data))

    assert invalid.value.reason == reason


def test_a_classification_is_told_with_the_ticket_as_key() -> None:
    message = to_message(classified(), "00-trace")

    payload = events_pb2.TicketClassified.FromString(message.data)
    assert (message.topic, message.key, message.subject) == ("classifier.classifications.v1", "t1", "t1")
    assert message.type == "paidan.classifier.v1.TicketClassified"
    assert message.traceparent == "00-trace"
    assert payload.ticket_id == "t1"
    assert payload.classification.model_version == "v1"
    assert payload.classify_time.ToDatetime(NOW.tzinfo) == NOW


def test_the_same_cause_and_model_give_the_same_id_and_another_of_either_another() -> None:
    ids = [to_message(event, None).id for event in (classified(), classified(), classified("m2"), classified("m1", "v2"))]

    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
    assert uuid.UUID(ids[0]).version == 5


def test_an_answer_travels_whole() -> None:
    answer = dataclasses.replace(
        classification(),
        abstain_reason=AbstainReason.UNSURE,
        issues=(ClassCode("power_supply"), ClassCode("fee_burden")),
        district=DistrictCode("500120"),
        slots=(Slot("amount", "860000元", 3, 6),),
        flags=(Flag(FlagKind.DEADLINE_NEAR, 1, 5),),
    )

    proto = to_proto(answer)

    assert [(each.class_code, each.probability) for each in proto.classes] == [("power_supply", 0.9), ("other", 0.1)]
    assert proto.abstained
    assert proto.abstain_reason == classification_pb2.ABSTAIN_REASON_UNSURE
    assert list(proto.issue_codes) == ["power_supply", "fee_burden"]
    assert proto.district_code == "500120"
    assert [(slot.key, slot.value, slot.start, slot.end) for slot in proto.slots] == [("amount", "860000元", 3, 6)]
    assert [(flag.kind, flag.start, flag.end) for flag in proto.flags] == [("deadline_near", 1, 5)]
    assert [(span.start, span.end, span.weight) for span in proto.evidence] == [(0, 2, 0.5)]


def test_an_answer_that_is_given_carries_no_reason() -> None:
    proto = to_proto(classification())

    assert not proto.abstained
    assert proto.abstain_reason == classification_pb2.ABSTAIN_REASON_UNSPECIFIED
