"""Page tokens: opaque, bound to their filters, and never a way in."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest

from chassis.page import InvalidPageToken, decode_token, encode_token, page_size

FILTERS = {"list": "tickets", "caller": ["portal", "a"], "from": datetime(2026, 11, 23, tzinfo=UTC), "until": None}


def test_a_token_gives_back_its_position() -> None:
    token = encode_token(FILTERS, ["2026-11-23T01:00:00+00:00", "工单-1", ""])

    assert decode_token(FILTERS, token) == ("2026-11-23T01:00:00+00:00", "工单-1", "")


def test_no_token_is_the_first_page() -> None:
    assert decode_token(FILTERS, "") is None


def test_a_token_fits_in_an_address() -> None:
    token = encode_token(FILTERS, ["?/+&=" * 20, "ÿ" * 30])

    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize(
    "other",
    [
        {**FILTERS, "list": "due"},
        {**FILTERS, "caller": ["portal", "b"]},
        {**FILTERS, "until": "x"},
        {**FILTERS, "from": datetime(2026, 11, 23, 1, tzinfo=UTC)},
        {},
    ],
)
def test_a_token_of_other_filters_is_refused(other: dict[str, object]) -> None:
    with pytest.raises(InvalidPageToken):
        decode_token(other, encode_token(FILTERS, ["x"]))


def test_the_order_of_filters_does_not_matter() -> None:
    assert decode_token(dict(reversed(FILTERS.items())), encode_token(FILTERS, ["x"])) == ("x",)


def _encoded(body: str) -> str:
    return base64.urlsafe_b64encode(body.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "=",
        "====",
        "工单",
        "\x00",
        "a b",
        _encoded("null"),
        _encoded("[]"),
        _encoded("{}"),
        _encoded('"text"'),
        _encoded("[1]"),
        _encoded("["),
        _encoded("[" * 100_000),
        _encoded("[" + "9" * 10_000 + "]"),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    ],
    ids=lambda token: token[:12],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidPageToken):
        decode_token(FILTERS, token)


def test_a_position_of_anything_but_texts_is_refused() -> None:
    fingerprint = json.loads(base64.urlsafe_b64decode(encode_token(FILTERS, []) + "=="))[0]

    with pytest.raises(InvalidPageToken):
        decode_token(FILTERS, _encoded(json.dumps([fingerprint, 7])))


@pytest.mark.parametrize(("asked", "given"), [(0, 50), (1, 1), (50, 50), (200, 200), (201, 200), (10**9, 200)])
def test_the_page_size_has_a_default_and_a_most(asked: int, given: int) -> None:
    assert page_size(asked) == given


def test_a_negative_page_size_is_none() -> None:
    with pytest.raises(ValueError, match="-1"):
        page_size(-1)
