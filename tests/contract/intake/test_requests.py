"""The port `Requests`: a key belongs to whoever commits it first."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from services.intake.application.ports import KnownRequest, RequestKey
from services.intake.domain.types import PortalCode, RequestId, TicketId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.contract.intake.conftest import OpenUnitOfWork


def key(request_id: str = "r-1", portal: str = "p", scope: str = "submit") -> RequestKey:
    return RequestKey(PortalCode(portal), scope, RequestId(request_id))


def known(ticket_id: str = "t-1", fingerprint: bytes = b"\x00\xff") -> KnownRequest:
    return KnownRequest(fingerprint, TicketId(ticket_id))


def claim(
    open_unit_of_work: OpenUnitOfWork, wanted: Mapping[RequestKey, KnownRequest], *, commit: bool = True
) -> Mapping[RequestKey, KnownRequest]:
    with open_unit_of_work() as uow:
        answer = uow.requests.claim(wanted)
        if commit:
            uow.commit()
    return answer


def test_a_free_key_is_ours_and_a_held_key_tells_what_it_stands_for(open_unit_of_work: OpenUnitOfWork) -> None:
    first = claim(open_unit_of_work, {key(): known("t-1", b"one")})
    second = claim(open_unit_of_work, {key(): known("t-2", b"two"), key("r-2"): known("t-3")})
    third = claim(open_unit_of_work, {key("r-2"): known("t-4")})

    assert first == {}
    assert second == {key(): known("t-1", b"one")}
    assert third == {key("r-2"): known("t-3")}


def test_portal_scope_and_id_all_belong_to_the_key(open_unit_of_work: OpenUnitOfWork) -> None:
    keys = [key(), key(portal="q"), key(scope="t-1"), key("r-2")]

    assert [claim(open_unit_of_work, {each: known()}) for each in keys] == [{}] * 4


def test_a_claim_that_was_not_committed_is_none(open_unit_of_work: OpenUnitOfWork) -> None:
    claim(open_unit_of_work, {key(): known("t-1")}, commit=False)

    assert claim(open_unit_of_work, {key(): known("t-2")}) == {}


def test_of_sixteen_who_claim_a_key_at_once_exactly_one_gets_it(open_unit_of_work: OpenUnitOfWork) -> None:
    together = threading.Barrier(16)

    def attempt(i: int) -> Mapping[RequestKey, KnownRequest]:
        together.wait(20)
        return claim(open_unit_of_work, {key(): known(f"t-{i}")})

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(attempt, range(16)))

    winner = answers.index({})
    assert answers.count({}) == 1
    assert all(answer == {key(): known(f"t-{winner}")} for answer in answers if answer)


def test_groups_that_share_keys_in_different_orders_never_deadlock(open_unit_of_work: OpenUnitOfWork) -> None:
    keys = [key(f"r-{i}") for i in range(40)]
    together = threading.Barrier(8)

    def attempt(i: int) -> int:
        order = keys[i * 5 :] + keys[: i * 5]
        together.wait(20)
        return 40 - len(claim(open_unit_of_work, {each: known(f"t-{i}") for each in (order if i % 2 else order[::-1])}))

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(attempt, range(8)))

    assert sum(won) == 40
