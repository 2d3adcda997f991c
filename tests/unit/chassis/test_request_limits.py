"""Every string, list and timestamp of every request of all four services has a limit that is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.refusal import Refusal, RefusalKind
from chassis.request_limits import LimitsIncomplete, read_requests
from services.classifier.adapters import limits as classifier
from services.dispatcher.adapters import limits as dispatcher
from services.intake.adapters import limits as intake
from services.sla.adapters import limits as sla
from tests.support.contracts import METHODS, SERVICES, Place, is_list, is_string, is_timestamp, places

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.descriptor import MethodDescriptor
    from google.protobuf.message import Message

    from chassis.request_limits import Limit

LIMITS: Mapping[str, Mapping[str, Limit]] = {
    "intake": intake.LIMITS,
    "classifier": classifier.LIMITS,
    "dispatcher": dispatcher.LIMITS,
    "sla": sla.LIMITS,
}
READERS = {name: read_requests(service, LIMITS[name]) for name, service in SERVICES.items()}
ENDS = [
    Timestamp(seconds=-(2**63)),
    Timestamp(seconds=2**63 - 1),
    Timestamp(seconds=-62135596801),
    Timestamp(seconds=-62135596800),
    Timestamp(seconds=253402300800),
    Timestamp(seconds=253402300799, nanos=999_999_999),
    Timestamp(seconds=1_800_000_000, nanos=-1),
    Timestamp(seconds=1_800_000_000, nanos=1_000_000_000),
    Timestamp(seconds=694223999),
    Timestamp(seconds=7258118400),
]


def refused(place: Place, request: Message) -> Refusal:
    with pytest.raises(Refusal) as caught:
        READERS[place.service][place.method.name](request.SerializeToString())
    return caught.value


def test_there_is_something_to_check() -> None:
    assert (len(places(is_string)), len(places(is_timestamp)), len(places(is_list))) >= (50, 8, 7)


def is_domain_checked(place: Place) -> bool:
    field = place.fields[-1]
    return LIMITS[place.service][f"{field.containing_type.name}.{field.name}"].domain_checked


STRINGS = [(place, "工" * 20_000, "has 20000 characters") for place in places(is_string)]
STRINGS += [(place, "ab\x00c", "U+0000 at position 3") for place in places(is_string) if not is_domain_checked(place)]


@pytest.mark.parametrize(("place", "value", "said"), STRINGS, ids=lambda value: str(value)[:60])
def test_a_string_with_nul_or_beyond_its_length_is_refused_by_its_path(place: Place, value: str, said: str) -> None:
    refusal = refused(place, place.request(value))

    assert refusal.kind is RefusalKind.INVALID
    assert refusal.reason == ("INVALID_PAGE_TOKEN" if place.path == "page_token" else "INVALID_FIELD")
    assert [violation.field for violation in refusal.violations] == [place.path]
    assert said in refusal.violations[0].description


@pytest.mark.parametrize("place", places(is_list), ids=str)
def test_a_list_beyond_its_length_is_refused_by_its_path(place: Place) -> None:
    field = place.fields[-1]
    entry = "x" if is_string(field) else 0 if field.message_type is None else type(getattr(place.request(), field.name).add())()
    refusal = refused(place, place.request(*[entry] * 1000))

    assert [(violation.field, violation.description[:16]) for violation in refusal.violations] == [
        (place.path.removesuffix("[0]"), "has 1000 entries")
    ]


@pytest.mark.parametrize("place", places(is_timestamp), ids=str)
@pytest.mark.parametrize("end", ENDS, ids=lambda end: f"{end.seconds}.{end.nanos}")
def test_a_timestamp_out_of_range_is_refused_by_its_path(place: Place, end: Timestamp) -> None:
    refusal = refused(place, place.request(end))

    assert [(violation.field, violation.description) for violation in refusal.violations] == [
        (place.path, "is out of range, must be in 1992–2199")
    ]


@pytest.mark.parametrize("place", places(is_timestamp), ids=str)
@pytest.mark.parametrize("seconds", [0, 694224000, 1_800_000_000, 7258118399])
def test_a_timestamp_within_range_is_taken(place: Place, seconds: int) -> None:
    request = place.request(Timestamp(seconds=seconds))

    assert READERS[place.service][place.method.name](request.SerializeToString()) == request


@pytest.mark.parametrize(("name", "method"), METHODS, ids=lambda value: getattr(value, "name", value))
def test_bytes_that_are_no_request_are_refused_as_such(name: str, method: MethodDescriptor) -> None:
    for data in (b"\xff\xff\xff", b"\x0a\x05ab", b"\x0b"):
        with pytest.raises(Refusal) as caught:
            READERS[name][method.name](data)

        assert (caught.value.kind, caught.value.reason) == (RefusalKind.INVALID, "MALFORMED_REQUEST")


def test_a_field_without_a_limit_and_a_limit_without_a_field_are_found_at_startup() -> None:
    limits = dict(intake.LIMITS)
    limits["GetTicketRequest.reference"] = limits.pop("GetTicketRequest.ticket_id")

    with pytest.raises(LimitsIncomplete) as caught:
        read_requests(SERVICES["intake"], limits)

    assert caught.value.fields == ("GetTicketRequest.ticket_id", "GetTicketRequest.reference")


def test_everything_beyond_its_limits_is_told_at_once() -> None:
    request = SERVICES["intake"].methods_by_name["SubmitTicket"]
    place = next(each for each in places(is_string) if each.method is request and each.path == "enterprise.uscc")
    message = place.request("x\x00")
    message.contact.phone = "1" * 5000  # type: ignore[attr-defined]  # of SubmitTicketRequest
    message.request_id = "\x00"  # type: ignore[attr-defined]

    refusal = refused(place, message)

    assert [violation.field for violation in refusal.violations] == ["request_id", "enterprise.uscc", "contact.phone"]
    assert refusal.message.startswith("request_id holds the character U+0000 at position 1, which is not allowed; enterprise.uscc holds")
