"""Bearer tokens.

A token is `paidan_<token id>_<secret>`: the id finds the row, the secret is 256 random bits and stored as SHA-256 (a slow hash
protects guessable secrets; these cannot be guessed).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, Column, DateTime, LargeBinary, MetaData, Table, Text, func, insert, select, update

from chassis.caller import Caller, Role

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from sqlalchemy import Connection, Engine

    from chassis.clock import Clock

SCHEMA = "identity"
metadata = MetaData(schema=SCHEMA)

caller_token = Table(
    "caller_token",
    metadata,
    Column("token_id", Text, primary_key=True),
    Column("secret_sha256", LargeBinary, nullable=False),
    Column("role", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("note", Text, nullable=False, server_default=""),
    Column("create_time", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("expire_time", DateTime(timezone=True)),
    Column("revoke_time", DateTime(timezone=True)),
    CheckConstraint("role IN ('portal', 'unit', 'desk', 'operator')", name="caller_token_role"),
)

_PREFIX = "paidan"
_CACHED_TOKENS = 10_000


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new token.

    Attributes:
        token_id: Its public part, to revoke it by.
        token: The whole, shown this once.
    """

    token_id: str
    token: str


def issue(
    conn: Connection,
    caller: Caller,
    *,
    note: str = "",
    expire_time: datetime | None = None,
) -> IssuedToken:
    """Store a new token for a caller; only its hash is kept."""
    token_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    conn.execute(
        insert(caller_token).values(
            token_id=token_id,
            secret_sha256=_digest(secret),
            role=caller.role.value,
            subject=caller.subject,
            note=note,
            expire_time=expire_time,
        ),
    )
    return IssuedToken(token_id, f"{_PREFIX}_{token_id}_{secret}")


def revoke(conn: Connection, token_id: str, *, now: datetime) -> bool:
    """Revoke a token; False if there is none of that id, or it was revoked before."""
    changed = conn.execute(
        update(caller_token).where(caller_token.c.token_id == token_id, caller_token.c.revoke_time.is_(None)).values(revoke_time=now),
    )
    return changed.rowcount == 1


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


class Authenticator:
    """Finds the caller of a token. An answer is believed for `lifetime`: so long does a revocation take."""

    def __init__(self, engine: Engine, clock: Clock, *, lifetime: timedelta) -> None:
        self._engine = engine
        self._clock = clock
        self._lifetime = lifetime.total_seconds()
        self._lock = threading.Lock()
        self._answers: OrderedDict[bytes, tuple[float, Caller | None]] = OrderedDict()

    def cached(self, token: str) -> tuple[bool, Caller | None]:
        """Return whether the answer is known, and the answer. Does no I/O."""
        with self._lock:
            at, caller = self._answers.get(_digest(token), (None, None))
        return (at is not None and time.monotonic() - at < self._lifetime), caller

    def fresh_for(self, token: str) -> float:
        """Return for how many seconds the cached answer is still believed; 0 if there is none."""
        with self._lock:
            at, _ = self._answers.get(_digest(token), (None, None))
        return 0.0 if at is None else max(0.0, at + self._lifetime - time.monotonic())

    def authenticate(self, token: str) -> Caller | None:
        """Return the caller of a token, or None if it is unknown, expired or revoked. Asks the database unless the answer is cached."""
        known, caller = self.cached(token)
        if known:
            return caller
        caller = self._look_up(token)
        with self._lock:
            self._answers[_digest(token)] = (time.monotonic(), caller)
            self._answers.move_to_end(_digest(token))
            if len(self._answers) > _CACHED_TOKENS:
                self._answers.popitem(last=False)
        return caller

    def _look_up(self, token: str) -> Caller | None:
        prefix, _, rest = token.partition("_")
        token_id, _, secret = rest.partition("_")
        if prefix != _PREFIX or not secret:
            return None
        with self._engine.connect() as conn:
            row = conn.execute(select(caller_token).where(caller_token.c.token_id == token_id)).one_or_none()
        if row is None or not hmac.compare_digest(row.secret_sha256, _digest(secret)):
            return None
        if row.revoke_time is not None or (row.expire_time is not None and row.expire_time <= self._clock.now()):
            return None
        return Caller(Role(row.role), row.subject)
