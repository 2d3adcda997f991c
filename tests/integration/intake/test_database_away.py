"""Every kind of call while the database is read-only, stopped, or silent: its code, `RetryInfo` and latency."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from chassis.caller import Role
from chassis.migrations import migrate
from services.intake import migrations
from tests.integration.intake.harness import Client, Store, a_request, open_door, read_answer
from tests.support.databases import own_server, read_only, suspended_backends, through
from tests.support.tcp_proxy import TcpProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from deploy.local.postgres import LocalPostgres
    from tests.integration.intake.harness import Answer, Door

DEADLINE_SECONDS = 2.0
RECOVERY_SECONDS = 10.0
CALLERS = 64

WRITES = ("SubmitTicket", "SupplementTicket", "WithdrawTicket")
READS = ("GetTicket", "ListTickets", "WatchTicket")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPostgres]:
    with own_server(tmp_path_factory.mktemp("server") / "postgres") as opened:
        migrate(opened.url, {"intake": Path(next(iter(migrations.__path__)))})
        yield opened


class Scene:
    """An intake server behind a database proxy that can be cut, and two tokens of a portal: a cached one and an unknown one."""

    def __init__(self, server: LocalPostgres, door: Door, proxy: TcpProxy) -> None:
        self.server = server
        self.door = door
        self.proxy = proxy
        self.known = door.portal()
        self.ticket_id = self.known.submit().ticket_id
        assert self.known.caller is not None
        self.unknown = Client(door.channel, door.store.token(Role.PORTAL, self.known.caller.subject))

    def call(self, client: Client, method: str) -> object:
        arguments: dict[str, dict[str, Any]] = {
            "SupplementTicket": {"request_id": "s-1", "text": "补充"},
            "WithdrawTicket": {"reason": "已解决"},
            "GetTicket": {},
            "WatchTicket": {},
        }
        if method == "SubmitTicket":
            return client.SubmitTicket(a_request(), timeout=DEADLINE_SECONDS)
        if method == "ListTickets":
            return client.ListTickets(timeout=DEADLINE_SECONDS)
        answer = getattr(client, method)(ticket_id=self.ticket_id, timeout=DEADLINE_SECONDS, **arguments[method])
        return next(answer) if method == "WatchTicket" else answer

    def answers(self, methods: Sequence[str]) -> dict[str, Answer | None]:
        """Make calls at once, each with both tokens; None is a success."""

        def answer_to(each: tuple[str, Client]) -> Answer | None:
            try:
                self.call(each[1], each[0])
            except grpc.RpcError as error:
                return read_answer(error)
            return None

        calls = {
            f"{method}, token {kind}": (method, client)
            for method in methods
            for kind, client in (("known", self.known), ("unknown", self.unknown))
        }
        with ThreadPoolExecutor(len(calls)) as pool:
            return dict(zip(calls, pool.map(answer_to, calls.values()), strict=True))

    def recovers(self) -> bool:
        """Whether calls of every kind succeed in time."""
        end = time.monotonic() + RECOVERY_SECONDS
        while time.monotonic() < end:
            if not any(self.answers(("SubmitTicket", *READS)).values()):
                return True
            time.sleep(0.2)
        return False


@pytest.fixture
def scene(server: LocalPostgres) -> Iterator[Scene]:
    store = Store(server.url)
    with TcpProxy(server.port) as proxy:
        url = through(proxy, server.url)
        with open_door(store, database_url=url, token_cache_lifetime=timedelta(minutes=1)) as door:
            yield Scene(server, door, proxy)
    store.close()


def unavailable(answers: dict[str, Answer | None]) -> dict[str, tuple[str, float | None] | None]:
    return {name: answer and (f"{answer.code.name} {answer.reason}", answer.retry_seconds) for name, answer in answers.items()}


def test_a_read_only_database_is_unavailable_for_writing_and_reads_go_on(scene: Scene) -> None:
    with read_only(scene.server.url):
        writes, reads = scene.answers(WRITES), scene.answers(READS)

    assert set(unavailable(writes).values()) == {("UNAVAILABLE STORE_UNAVAILABLE", 1)}, writes
    assert set(reads.values()) == {None}
    assert scene.recovers()


@contextmanager
def stopped(scene: Scene) -> Iterator[None]:
    scene.door.store.close()
    scene.server.stop()
    try:
        yield
    finally:
        scene.server.start()


@contextmanager
def black_hole(scene: Scene) -> Iterator[None]:
    scene.proxy.hold()
    try:
        yield
    finally:
        scene.proxy.release()


@pytest.mark.parametrize("away", [stopped, black_hole])
def test_a_database_that_is_away_is_unavailable_to_every_kind_of_call_within_its_deadline(
    scene: Scene, away: Callable[[Scene], Any]
) -> None:
    with away(scene):
        answers = scene.answers((*WRITES, *READS))

    assert set(unavailable(answers).values()) == {("UNAVAILABLE STORE_UNAVAILABLE", 1)}, answers
    assert scene.recovers()


def test_many_who_submit_into_silence_are_all_answered_in_time_and_soon_after_it_everything_flows(scene: Scene) -> None:
    def submit(_: int) -> list[Answer]:
        refused = []
        for _ in range(3):
            with pytest.raises(grpc.RpcError) as error:
                scene.call(scene.known, "SubmitTicket")
            refused.append(read_answer(error.value))
        return refused

    with black_hole(scene), ThreadPoolExecutor(CALLERS) as pool:
        began = time.monotonic()
        answers = [answer for refused in pool.map(submit, range(CALLERS)) for answer in refused]
        took = time.monotonic() - began

    assert {(answer.code, answer.retry_seconds) for answer in answers} == {(grpc.StatusCode.UNAVAILABLE, 1)}
    assert len(answers) == 3 * CALLERS
    assert took < 3 * DEADLINE_SECONDS + 1
    assert scene.recovers()


def test_an_open_watch_survives_silence_and_goes_on_after_it(scene: Scene) -> None:
    watch = scene.known.watch(scene.ticket_id, timeout=60)
    first = next(watch)
    with black_hole(scene):
        time.sleep(4)
    began = time.monotonic()
    assert scene.recovers()
    scene.call(scene.known, "WithdrawTicket")
    change = next(watch).change

    assert time.monotonic() - began < RECOVERY_SECONDS
    assert first.change.version < change.version


def test_sessions_that_a_server_does_not_serve_are_given_up_and_others_take_their_place(scene: Scene) -> None:
    scene.answers(("SubmitTicket", *READS))
    with suspended_backends(scene.server.url):
        answers = scene.answers(("SubmitTicket", "SupplementTicket", "GetTicket"))
        recovered = scene.recovers()

    refused = {answer for answer in unavailable(answers).values() if answer is not None}
    assert refused == {("UNAVAILABLE STORE_UNAVAILABLE", 1)}
    assert recovered
