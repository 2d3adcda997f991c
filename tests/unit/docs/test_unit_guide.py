from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from google.protobuf import json_format

from paidan.dispatcher.v1 import unit_messages_pb2

DOCUMENT = Path(__file__).parents[3] / "docs" / "unit-guide.md"
BLOCKS = re.findall(r"^```json\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def parse(block: str) -> unit_messages_pb2.UnitMessage | unit_messages_pb2.Receipt:
    kind = unit_messages_pb2.UnitMessage if "messageId" in json.loads(block) else unit_messages_pb2.Receipt
    return json_format.Parse(block, kind())


@pytest.mark.parametrize("block", BLOCKS)
def test_an_example_is_what_the_contract_says_in_its_canonical_form(block: str) -> None:
    message = parse(block)

    assert json_format.MessageToDict(message) == json.loads(block)


def test_every_kind_of_message_and_action_has_an_example() -> None:
    messages = [parse(block) for block in BLOCKS]

    shown = {message.WhichOneof("body") for message in messages if isinstance(message, unit_messages_pb2.UnitMessage)}
    done = {message.WhichOneof("action") for message in messages if isinstance(message, unit_messages_pb2.Receipt)}

    assert shown == {field.name for field in unit_messages_pb2.UnitMessage.DESCRIPTOR.oneofs_by_name["body"].fields}
    assert done == {field.name for field in unit_messages_pb2.Receipt.DESCRIPTOR.oneofs_by_name["action"].fields}
