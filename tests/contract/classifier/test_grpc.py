from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from paidan.classifier.v1 import classification_pb2
from paidan.classifier.v1 import classifier_service_pb2 as pb
from tests.unit.classifier.builders import LABELS, some_examples

if TYPE_CHECKING:
    from tests.contract.classifier.conftest import Door


def details(error: grpc.RpcError) -> dict[type, Any]:
    """Return the details of a rich error by their type."""
    found = {}
    for packed in rpc_status.from_call(error).details:  # type: ignore[arg-type]  # every error of a call is a Call
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo):
            if packed.Is(kind.DESCRIPTOR):
                found[kind] = kind.FromString(packed.value)
    return found


def test_a_text_is_classified_with_all_that_the_contract_promises(door: Door) -> None:
    text = "璧山的厂停电三次，损失86万元"

    answer = door.stub.Classify(pb.ClassifyRequest(text=text), metadata=door.metadata()).classification

    assert answer.classes[0].class_code == "power_supply"
    assert len(answer.classes) == 5
    assert not answer.abstained
    assert answer.district_code == "500120"
    assert [(slot.key, text[slot.start : slot.end]) for slot in answer.slots] == [("amount", "86万元")]
    assert "停电" in "".join(text[span.start : span.end] for span in answer.evidence)
    assert answer.model_version == "20261123-abcdef01"


def test_the_same_text_gets_the_same_answer_alone_and_in_a_batch(door: Door) -> None:
    texts = ["停电", "", "国企欠款"]

    batch = door.stub.ClassifyBatch(pb.ClassifyBatchRequest(texts=texts, top_k=3), metadata=door.metadata()).classifications

    alone = [door.stub.Classify(pb.ClassifyRequest(text=text, top_k=3), metadata=door.metadata()).classification for text in texts]
    assert list(batch) == alone
    assert batch[1].abstain_reason == classification_pb2.ABSTAIN_REASON_TOO_LITTLE


@pytest.mark.parametrize(
    ("text", "top_k", "field"),
    [("电" * 5_001, 0, "text"), ("电", 44, "top_k"), ("电", -1, "top_k")],
)
def test_a_field_out_of_bounds_is_named_in_a_rich_error(door: Door, text: str, top_k: int, field: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        door.stub.Classify(pb.ClassifyRequest(text=text, top_k=top_k), metadata=door.metadata())

    found = details(refused.value)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert found[error_details_pb2.ErrorInfo].reason == "INVALID_FIELD"
    assert found[error_details_pb2.ErrorInfo].domain == "classifier.paidan"
    assert [violation.field for violation in found[error_details_pb2.BadRequest].field_violations] == [field]


@pytest.mark.parametrize("texts", [[], ["电"] * 257])
def test_a_batch_of_none_or_too_many_is_refused(door: Door, texts: list[str]) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        door.stub.ClassifyBatch(pb.ClassifyBatchRequest(texts=texts), metadata=door.metadata())

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_the_classes_are_listed_for_everybody_in_the_catalogues_order(door: Door) -> None:
    classes = door.stub.ListClasses(pb.ListClassesRequest(), metadata=door.metadata("unit")).classes

    assert [each.code for each in classes] == list(LABELS)
    assert classes[0].domain_zh == "要素保障"


def test_an_operator_learns_which_model_answers(door: Door) -> None:
    model = door.stub.GetModel(pb.GetModelRequest(), metadata=door.metadata("operator")).model

    assert model.version == "20261123-abcdef01"
    assert model.abstain_threshold == pytest.approx(0.6)
    assert model.training_texts == len(some_examples())


@pytest.mark.parametrize(
    ("method", "role"), [("Classify", "unit"), ("ClassifyBatch", "unit"), ("GetModel", "portal"), ("GetModel", "unit")]
)
def test_who_may_not_call_is_refused(door: Door, method: str, role: str) -> None:
    request = getattr(pb, f"{method}Request")()

    with pytest.raises(grpc.RpcError) as refused:
        getattr(door.stub, method)(request, metadata=door.metadata(role))

    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_who_says_not_who_it_is_is_refused(door: Door) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        door.stub.Classify(pb.ClassifyRequest(text="停电"))

    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("method", ["Classify", "ListClasses", "GetModel"])
def test_without_a_model_the_caller_is_told_when_to_come_back(door_without_model: Door, method: str) -> None:
    request = getattr(pb, f"{method}Request")()

    with pytest.raises(grpc.RpcError) as refused:
        getattr(door_without_model.stub, method)(request, metadata=door_without_model.metadata("operator"))

    found = details(refused.value)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert found[error_details_pb2.ErrorInfo].reason == "NO_MODEL"
    assert found[error_details_pb2.RetryInfo].retry_delay.seconds == 5
