"""WatchTicket: every change, in order, without gap; a watcher that does not read is cut off and can resume."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from chassis.caller import Caller, Role
from chassis.identity.tokens import Authenticator, issue, revoke
from paidan.intake.v1 import ticket_pb2
from services.intake.application.follow_dispatch import Declined, Resolved
from services.intake.domain.types import TicketId, TicketState
from tests.integration.intake.harness import PATIENCE_SECONDS, Client, Store, open_door, read_answer, refusal
from tests.unit.intake.builders import act

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.integration.intake.harness import Door


def versions(messages: Iterable[Any]) -> list[int]:
    return [message.change.version for message in messages]


def take(call: Iterator[Any], count: int) -> list[Any]:
    return [next(call) for _ in range(count)]


def eventually(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < end, "did not come true in time"
        time.sleep(0.02)


def test_a_watcher_sees_what_was_and_then_what_comes(store: Store, portal: Client) -> None:
    ticket = portal.submit()
    watch = portal.watch(ticket.number)
    first = next(watch)

    store.bring(ticket.ticket_id, TicketState.AWAITING_SUPPLEMENT)
    asked = take(watch, 2)
    portal.SupplementTicket(ticket_id=ticket.ticket_id, request_id="s-1", text="合同在此")
    supplemented = next(watch)
    store.follow(Resolved(TicketId(ticket.ticket_id), act(note="已办结")))
    resolved = next(watch)
    portal.RateTicket(ticket_id=ticket.ticket_id, solved=ticket_pb2.SOLVED_YES, score=5, comment="好")
    rated = list(watch)

    seen = [message.change for message in (first, *asked, supplemented, resolved, *rated)]
    assert [change.version for change in seen] == [1, 2, 3, 4, 5, 6]
    assert [change.kind for change in seen] == [
        "submitted",
        "dispatched",
        "supplement_requested",
        "supplemented",
        "resolved",
        "rated",
    ]
    assert [change.note for change in seen] == ["", "按类别派单", "请补充合同", "合同在此", "已办结", "好"]
    assert {change.ticket_id for change in seen} == {ticket.ticket_id}
    assert seen[-1].state == ticket_pb2.TICKET_STATE_CLOSED
    assert watch.code() is grpc.StatusCode.OK


@pytest.mark.parametrize("end", ["withdrawn", "declined", "closed"])
def test_a_watch_ends_with_ok_after_a_final_state(store: Store, portal: Client, end: str) -> None:
    ticket = portal.submit()
    watch = portal.watch(ticket.ticket_id)
    next(watch)

    match end:
        case "withdrawn":
            portal.WithdrawTicket(ticket_id=ticket.ticket_id)
        case "declined":
            store.follow(Declined(TicketId(ticket.ticket_id), "不属于本市", datetime.now(UTC)))
        case "closed":
            store.bring(ticket.ticket_id, TicketState.RESOLVED)
            portal.RateTicket(ticket_id=ticket.ticket_id, solved=ticket_pb2.SOLVED_NO_VIEW, score=3)

    assert ticket_pb2.TicketState.Name(list(watch)[-1].change.state) == f"TICKET_STATE_{end.upper()}"
    assert watch.code() is grpc.StatusCode.OK


def test_a_watch_that_resumes_after_the_last_change_of_an_ended_ticket_ends_at_once(portal: Client) -> None:
    ticket = portal.submit()
    last = portal.WithdrawTicket(ticket_id=ticket.ticket_id).ticket.version

    assert list(portal.watch(ticket.ticket_id, after=last)) == []


def test_a_watch_of_a_ticket_that_was_closed_and_reopened_goes_on_past_the_closing(store: Store, portal: Client) -> None:
    ticket = portal.submit()
    store.bring(ticket.ticket_id, TicketState.RESOLVED)
    portal.RateTicket(ticket_id=ticket.ticket_id, solved=ticket_pb2.SOLVED_YES, score=5)
    portal.RateTicket(ticket_id=ticket.ticket_id, solved=ticket_pb2.SOLVED_NO, score=1)
    portal.ReopenTicket(ticket_id=ticket.ticket_id, reason="又坏了")

    watch = portal.watch(ticket.ticket_id)
    seen = take(watch, 6)
    portal.WithdrawTicket(ticket_id=ticket.ticket_id)
    rest = list(watch)

    assert [message.change.kind for message in seen] == ["submitted", "dispatched", "resolved", "rated", "rated", "reopened"]
    assert [message.change.kind for message in rest] == ["withdrawn"]


@pytest.mark.parametrize(("after", "seen"), [(-5, [1, 2, 3]), (0, [1, 2, 3]), (1, [2, 3]), (2, [3]), (3, [])])
def test_a_watch_begins_after_the_version_that_is_named(store: Store, portal: Client, after: int, seen: list[int]) -> None:
    ticket = portal.submit()
    store.bring(ticket.ticket_id, TicketState.RESOLVED)
    watch = portal.watch(ticket.ticket_id, after=after)

    before = take(watch, len(seen))
    portal.RateTicket(ticket_id=ticket.ticket_id, solved=ticket_pb2.SOLVED_YES, score=5)

    assert versions([*before, *watch]) == [*seen, 4]


def test_a_history_longer_than_any_queue_is_replayed_to_a_watcher_that_reads(store: Store, portal: Client) -> None:
    ticket = portal.submit()
    store.bring(ticket.ticket_id, TicketState.ACCEPTED)
    store.progress(ticket.ticket_id, *(f"第{i}步" for i in range(1000)))
    portal.WithdrawTicket(ticket_id=ticket.ticket_id)

    seen = list(portal.watch(ticket.ticket_id))

    assert versions(seen) == list(range(1, 1005))


def test_two_hundred_watchers_of_one_ticket_all_see_all_of_it(store: Store, portal: Client) -> None:
    ticket = portal.submit()
    watches = [portal.watch(ticket.ticket_id) for _ in range(200)]
    for watch in watches:
        next(watch)

    store.bring(ticket.ticket_id, TicketState.ACCEPTED)
    portal.WithdrawTicket(ticket_id=ticket.ticket_id)

    assert [versions(watch) for watch in watches] == [[2, 3, 4]] * 200


def test_resuming_again_and_again_while_changes_go_on_gives_no_gap_and_no_repetition(store: Store, portal: Client) -> None:
    ticket = portal.submit()
    store.bring(ticket.ticket_id, TicketState.ACCEPTED)
    going = threading.Event()

    def change() -> None:
        going.wait()
        for i in range(60):
            store.progress(ticket.ticket_id, f"{i}a", f"{i}b")
        portal.WithdrawTicket(ticket_id=ticket.ticket_id)

    changing = threading.Thread(target=change)
    changing.start()
    seen: list[int] = []
    resumed = 0
    going.set()
    while seen[-1:] != [124]:
        watch = portal.watch(ticket.ticket_id, after=seen[-1] if seen else 0)
        seen += versions(message for message, _ in zip(watch, range(7), strict=False))
        watch.cancel()
        resumed += 1
    changing.join()

    assert seen == list(range(1, 125))
    assert resumed >= 124 // 7


def test_changes_by_many_at_once_reach_a_watcher_in_order(store: Store, portal: Client) -> None:
    ticket = portal.submit()
    store.bring(ticket.ticket_id, TicketState.ACCEPTED)
    watch = portal.watch(ticket.ticket_id)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: store.progress(ticket.ticket_id, f"{i}"), range(40)))
    portal.WithdrawTicket(ticket_id=ticket.ticket_id)

    assert versions(watch) == list(range(1, 45))


def test_a_watcher_that_leaves_is_forgotten(door: Door, portal: Client) -> None:
    ticket = portal.submit()
    watches = [portal.watch(ticket.ticket_id) for _ in range(20)]
    for watch in watches:
        next(watch)
    assert len(door.hub._watchers[TicketId(ticket.ticket_id)]) == 20

    for watch in watches:
        watch.cancel()

    eventually(lambda: TicketId(ticket.ticket_id) not in door.hub._watchers)


def test_five_hundred_open_watches_hold_no_thread_and_submissions_go_on(store: Store) -> None:
    with open_door(store, grpc_threads=4, database_pool_size=4) as door:
        portal = door.portal()
        tickets = [portal.submit() for _ in range(50)]
        before = threading.active_count()
        watches = [portal.watch(ticket.ticket_id, timeout=120) for ticket in tickets for _ in range(10)]
        for watch in watches:
            next(watch)
        open_streams = door.count("paidan_grpc_server_open_streams", method="WatchTicket")

        with ThreadPoolExecutor(8) as pool:
            submitted = list(pool.map(lambda _: portal.submit(), range(100)))
        for ticket in tickets:
            portal.WithdrawTicket(ticket_id=ticket.ticket_id)
        ends = [versions(watch) for watch in watches]

        assert open_streams == 500
        assert threading.active_count() - before < 50
        assert len({ticket.ticket_id for ticket in submitted}) == 100
        assert ends == [[2]] * 500
        eventually(lambda: door.count("paidan_grpc_server_open_streams", method="WatchTicket") == 0)


@pytest.fixture
def impatient(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    """A door that waits only a second for a watcher to read, and clients that keep little for whom does not."""
    monkeypatch.setattr("chassis.gate._STREAM_WRITE_TIMEOUT", timedelta(seconds=1))
    with open_door(store, options=[("grpc.http2.bdp_probe", 0)]) as opened:
        yield opened


def test_a_watcher_that_does_not_read_is_cut_off_and_resumes_where_it_was(impatient: Door, store: Store) -> None:
    portal = impatient.portal()
    ticket = portal.submit()
    store.bring(ticket.ticket_id, TicketState.ACCEPTED)
    watch = portal.watch(ticket.ticket_id, timeout=60)
    seen = versions(take(watch, 3))

    store.progress(ticket.ticket_id, *["长" * 5000] * 200)
    eventually(lambda: impatient.count("paidan_grpc_server_handled_total", method="WatchTicket", code="ABORTED") == 1)
    forgotten = TicketId(ticket.ticket_id) not in impatient.hub._watchers
    with pytest.raises(grpc.RpcError) as caught:
        seen.extend(message.change.version for message in watch)
    answer = read_answer(caught.value)
    resume_after = int(answer.metadata["resume_after_version"])
    portal.WithdrawTicket(ticket_id=ticket.ticket_id)
    rest = versions(portal.watch(ticket.ticket_id, after=resume_after))

    assert forgotten
    assert (answer.code, answer.reason, answer.domain) == (grpc.StatusCode.ABORTED, "WATCHER_TOO_SLOW", "intake.paidan")
    assert seen == list(range(1, resume_after + 1))
    assert seen + rest == list(range(1, 205))


def test_a_watcher_that_does_not_read_holds_up_nobody_else(impatient: Door, store: Store) -> None:
    portal = impatient.portal()
    ticket = portal.submit()
    store.bring(ticket.ticket_id, TicketState.ACCEPTED)
    asleep = [portal.watch(ticket.ticket_id, timeout=60) for _ in range(3)]
    for watch in asleep:
        next(watch)
    awake = portal.watch(ticket.ticket_id, timeout=60)

    store.progress(ticket.ticket_id, *["长" * 5000] * 100)
    portal.WithdrawTicket(ticket_id=ticket.ticket_id)
    seen = versions(awake)

    assert seen == list(range(1, 105))
    assert portal.submit().version == 1
    for watch in asleep:
        watch.cancel()


def test_a_slow_watcher_that_keeps_reading_is_not_cut_off(impatient: Door, store: Store) -> None:
    portal = impatient.portal()
    ticket = portal.submit()
    store.bring(ticket.ticket_id, TicketState.ACCEPTED)
    store.progress(ticket.ticket_id, *["长" * 5000] * 40)
    portal.WithdrawTicket(ticket_id=ticket.ticket_id)

    seen = []
    for message in portal.watch(ticket.ticket_id, timeout=60):
        seen.append(message)
        time.sleep(0.03)

    assert versions(seen) == list(range(1, 45))


def test_the_server_keeps_a_bounded_number_of_changes_for_a_watcher_that_does_not_read(store: Store) -> None:
    with open_door(store, options=[("grpc.http2.bdp_probe", 0)]) as door:
        portal = door.portal()
        ticket = portal.submit()
        store.bring(ticket.ticket_id, TicketState.ACCEPTED)
        watch = portal.watch(ticket.ticket_id, timeout=60)
        take(watch, 3)

        store.progress(ticket.ticket_id, *["长" * 5000] * 300)
        (watcher,) = door.hub._watchers[TicketId(ticket.ticket_id)]
        eventually(lambda: watcher.room == 0)
        time.sleep(0.3)  # several looks of the hub
        kept = watcher.queue.qsize()
        portal.WithdrawTicket(ticket_id=ticket.ticket_id)
        rest = versions(watch)

        assert 0 < kept <= 128
        assert rest == list(range(4, 305))


def test_an_unknown_ticket_cannot_be_watched(portal: Client) -> None:
    answer = refusal(lambda: next(portal.watch("00000000-0000-7000-8000-000000000000")))

    assert (answer.code, answer.reason) == (grpc.StatusCode.NOT_FOUND, "TICKET_NOT_FOUND")


@pytest.mark.parametrize("after", [2, 1000, 2**63 - 1])
def test_a_watch_after_a_version_that_the_ticket_has_not_reached_is_refused_with_the_present_one(portal: Client, after: int) -> None:
    ticket = portal.submit()

    answer = refusal(lambda: next(portal.watch(ticket.ticket_id, after=after)))

    assert (answer.code, answer.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "VERSION_AHEAD")
    assert answer.metadata == {"present_version": "1"}


LIFETIME = timedelta(seconds=1)


def test_a_revoked_token_ends_its_streams_within_the_cache_lifetime_and_they_get_nothing_after(store: Store) -> None:
    with open_door(store, token_cache_lifetime=LIFETIME) as door:
        portal, other = door.portal(), door.portal()
        ticket, others = portal.submit(), other.submit()
        watch, unharmed = portal.watch(ticket.ticket_id), other.watch(others.ticket_id)
        take(watch, 1)
        take(unharmed, 1)

        with store.admin.begin() as conn:
            assert revoke(conn, str(portal.token).split("_")[1], now=datetime.now(UTC))
        revoked = time.monotonic()
        answer = refusal(lambda: list(watch))
        took = time.monotonic() - revoked
        store.bring(ticket.ticket_id, TicketState.ACCEPTED)
        store.bring(others.ticket_id, TicketState.ACCEPTED)

        assert (answer.code, answer.reason, answer.domain) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED", "paidan")
        assert took < LIFETIME.total_seconds() + 0.7
        assert refusal(lambda: next(watch)) == answer
        assert next(unharmed).change.version == 2
        assert TicketId(ticket.ticket_id) not in door.hub._watchers


def test_a_token_that_expires_ends_its_streams(store: Store) -> None:
    with open_door(store, token_cache_lifetime=LIFETIME / 4) as door:
        ticket = door.portal().submit()
        with store.admin.begin() as conn:
            token = issue(conn, Caller(Role.DESK, "desk-1"), expire_time=datetime.now(UTC) + LIFETIME).token
        begun = time.monotonic()

        answer = refusal(lambda: list(Client(door.channel, token).watch(ticket.ticket_id)))

        assert (answer.code, answer.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
        assert 0.5 < time.monotonic() - begun < 2 * LIFETIME.total_seconds()


def test_however_many_streams_a_token_has_it_is_looked_up_once_per_cache_lifetime(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    look_up = Authenticator._look_up
    monkeypatch.setattr(Authenticator, "_look_up", lambda self, token: asked.append(token) or look_up(self, token))
    with open_door(store, token_cache_lifetime=LIFETIME / 2) as door:
        portal = door.portal()
        watches = [portal.watch(portal.submit().ticket_id) for _ in range(60)]
        for watch in watches:
            take(watch, 1)
        before = len(asked)

        time.sleep(2 * LIFETIME.total_seconds())
        during = len(asked) - before
        for watch in watches:
            watch.cancel()
        eventually(lambda: not door.server._gate._tokens._checks)

        assert 2 <= during <= 6
