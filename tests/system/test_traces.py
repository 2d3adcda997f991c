"""One trace from the portal's call to the last message about the ticket."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from tests.support.city import ASSIGNMENTS, CLASSIFICATIONS, DEADLINES, TICKETS
from tests.support.requests import CREDIT, USCC

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.actors import Portal, Unit
    from tests.support.city import City

    Units = Callable[[str], Unit]


def test_the_trace_of_the_submission_is_on_every_message_that_follows_from_it(city: City, portal: Portal, unit: Units) -> None:
    trace_id = secrets.token_hex(16)

    ticket_id = portal.submit(CREDIT, traceparent=f"00-{trace_id}-{secrets.token_hex(8)}-01")
    portal.until_deadline(ticket_id, "MET", "DISPATCH")
    unit(CREDIT.lead).told(ticket_id, "deadline")
    city.catch_up()
    records = city.records(ticket_id)

    assert {record.topic for record in records} >= {TICKETS, CLASSIFICATIONS, ASSIGNMENTS, DEADLINES, f"dispatch.{CREDIT.lead}.v1"}
    assert {record.headers["traceparent"].split("-")[1] for record in records} == {trace_id}


def test_messages_are_cloud_events_in_binary_mode(city: City, portal: Portal, unit: Units) -> None:
    ticket_id = portal.submit(CREDIT)
    portal.until_deadline(ticket_id, "MET", "DISPATCH")
    unit(CREDIT.lead).told(ticket_id, "deadline")
    city.catch_up()

    records = city.records(ticket_id)

    for record in records:
        to_unit = record.topic.startswith("dispatch.")
        assert record.key == record.headers["ce_subject"] == ticket_id
        assert record.headers["ce_specversion"] == "1.0"
        assert record.headers["ce_type"].startswith("paidan.")
        assert record.headers["content-type"] == ("application/json" if to_unit else "application/protobuf")
    assert len({record.message_id for record in records}) == len(records)
    assert any(USCC.encode() in record.value for record in records)
