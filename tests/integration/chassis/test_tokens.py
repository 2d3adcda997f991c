"""Bearer tokens on a real PostgreSQL: issued once, stored hashed, revoked and expired."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, event, select

from chassis.caller import Caller, Role
from chassis.identity import tokens
from chassis.identity.tokens import Authenticator, issue, revoke
from chassis.migrations import migrate
from chassis.testing import ManualClock
from tests.conftest import fresh_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from deploy.local.parts import LocalParts

NOW = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
PORTAL = Caller(Role.PORTAL, "yukuaiban")


@pytest.fixture(scope="module")
def engine(parts: LocalParts) -> Iterator[Engine]:
    with fresh_database(parts.database_url) as url:
        migrate(url, {})
        made = create_engine(url)
        yield made
        made.dispose()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def authenticator(engine: Engine, clock: ManualClock) -> Authenticator:
    """One that believes an answer for no time at all."""
    return Authenticator(engine, clock, lifetime=timedelta(0))


def issued(engine: Engine, caller: Caller = PORTAL, expire_time: datetime | None = None) -> tokens.IssuedToken:
    with engine.begin() as conn:
        return issue(conn, caller, note="test", expire_time=expire_time)


@pytest.mark.parametrize("role", list(Role))
def test_a_token_tells_who_calls(engine: Engine, authenticator: Authenticator, role: Role) -> None:
    caller = Caller(role, "somebody")

    assert authenticator.authenticate(issued(engine, caller).token) == caller


def test_the_database_holds_no_token_and_no_secret(engine: Engine) -> None:
    token = issued(engine).token
    secret = token.split("_", 2)[2]

    with engine.connect() as conn:
        stored = " ".join(str(tuple(row)) for row in conn.execute(select(tokens.caller_token)))

    assert token not in stored
    assert secret not in stored
    assert secret.encode().hex() not in stored


def test_tokens_of_one_caller_differ(engine: Engine) -> None:
    assert len({issued(engine).token for _ in range(10)}) == 10


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: token[:-1] + ("A" if token[-1] != "A" else "B"),
        lambda token: token + "x",
        lambda token: token[:-1],
        lambda token: token.upper(),
        lambda token: token.replace("paidan_", "other_"),
        lambda token: token.split("_")[0] + "_" + token.split("_")[1],
        lambda token: token.split("_")[0] + "_0000000000000000_" + token.split("_", 2)[2],
        lambda _: "",
        lambda _: "paidan__",
        lambda _: "paidan",
        lambda token: f" {token}",
    ],
)
def test_whatever_is_changed_about_a_token_nobody_is_found(engine: Engine, authenticator: Authenticator, spoil) -> None:  # noqa: ANN001
    token = issued(engine).token

    assert authenticator.authenticate(spoil(token)) is None


def test_a_revoked_token_finds_nobody(engine: Engine, authenticator: Authenticator) -> None:
    first, second = issued(engine), issued(engine)

    with engine.begin() as conn:
        changed = [revoke(conn, first.token_id, now=NOW) for _ in range(2)]

    assert changed == [True, False]
    assert authenticator.authenticate(first.token) is None
    assert authenticator.authenticate(second.token) == PORTAL


def test_a_token_that_is_none_cannot_be_revoked(engine: Engine) -> None:
    with engine.begin() as conn:
        assert revoke(conn, "nothing", now=NOW) is False


def test_a_token_expires_at_its_very_time(engine: Engine, authenticator: Authenticator, clock: ManualClock) -> None:
    token = issued(engine, expire_time=NOW + timedelta(hours=1)).token

    clock.set(NOW + timedelta(hours=1) - timedelta(microseconds=1))
    before = authenticator.authenticate(token)
    clock.advance(timedelta(microseconds=1))
    after = authenticator.authenticate(token)

    assert (before, after) == (PORTAL, None)


class Monotonic:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_an_answer_is_believed_for_its_lifetime_and_then_asked_for_again(
    engine: Engine, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monotonic = Monotonic()
    monkeypatch.setattr(tokens.time, "monotonic", monotonic)
    authenticator = Authenticator(engine, clock, lifetime=timedelta(seconds=5))
    token = issued(engine)
    asked = _count_statements(engine)

    first = authenticator.authenticate(token.token)
    with engine.begin() as conn:
        revoke(conn, token.token_id, now=NOW)
    asked.clear()
    monotonic.seconds += 4.9
    believed = authenticator.authenticate(token.token)
    known = authenticator.cached(token.token)
    within = len(asked)
    monotonic.seconds += 0.1
    unknown = authenticator.cached(token.token)
    after = authenticator.authenticate(token.token)

    assert (first, believed, after) == (PORTAL, PORTAL, None)
    assert known == (True, PORTAL)
    assert unknown[0] is False
    assert within == 0
    assert len(asked) == 1


def test_that_a_token_is_unknown_is_believed_too(engine: Engine, clock: ManualClock) -> None:
    authenticator = Authenticator(engine, clock, lifetime=timedelta(hours=1))
    asked = _count_statements(engine)

    answers = [authenticator.authenticate("paidan_0123456789abcdef_nothing") for _ in range(3)]

    assert answers == [None] * 3
    assert len(asked) == 1


def test_the_cache_is_bounded_and_keeps_what_was_asked_for_last(
    engine: Engine, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "_CACHED_TOKENS", 10)
    authenticator = Authenticator(engine, clock, lifetime=timedelta(hours=1))

    for i in range(50):
        authenticator.authenticate(f"nonsense-{i}")

    assert len(authenticator._answers) == 10
    assert authenticator.cached("nonsense-49") == (True, None)
    assert authenticator.cached("nonsense-0")[0] is False


def test_the_cache_holds_no_token_in_clear(engine: Engine, clock: ManualClock) -> None:
    authenticator = Authenticator(engine, clock, lifetime=timedelta(hours=1))
    token = issued(engine).token

    authenticator.authenticate(token)

    assert token.encode() not in authenticator._answers
    assert all(len(key) == 32 for key in authenticator._answers)


def _count_statements(engine: Engine) -> list[str]:
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda _c, _cu, statement, *_: statements.append(statement))
    return statements
