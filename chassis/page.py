"""Page tokens (AIP-158): opaque, and bound to the filters of the list that gave them out."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 200
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class InvalidPageToken(Exception):
    """The token was not given out by this list with these filters."""


def page_size(requested: int) -> int:
    """Return the number of rows for a requested page size; 0 means the default, too many means the most.

    Raises:
        ValueError: The number is negative.
    """
    if requested < 0:
        raise ValueError(requested)
    return min(requested or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def encode_token(filters: Mapping[str, object], position: Sequence[str]) -> str:
    """Return the token of the page that starts after `position`."""
    body = json.dumps([_fingerprint(filters), *position], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(body.encode()).decode().rstrip("=")


def decode_token(filters: Mapping[str, object], token: str) -> tuple[str, ...] | None:
    """Return the position in `token`, or None for the first page.

    The fingerprint binds a token to its list. It is not a signature: the reader of the position checks each part of it.

    Raises:
        InvalidPageToken: The token is malformed, or belongs to other filters.
    """
    if not token:
        return None
    try:
        body = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise InvalidPageToken from error
    match body:
        case [str(fingerprint), *position] if fingerprint == _fingerprint(filters) and all(_is_storable(part) for part in position):
            return tuple(position)
    raise InvalidPageToken


def _is_storable(part: object) -> bool:
    """Return whether a part of a position is text that a database accepts."""
    return isinstance(part, str) and _UNSTORABLE.search(part) is None


def _fingerprint(filters: Mapping[str, object]) -> str:
    canonical = json.dumps(filters, default=str, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
