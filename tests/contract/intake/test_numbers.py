"""The port `Numbers`: sequences without gap inside a batch and without repetition anywhere."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import TYPE_CHECKING

from services.intake.domain.types import DistrictCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.contract.intake.conftest import OpenUnitOfWork

DAY = date(2026, 11, 23)
YUBEI, JIANGBEI = DistrictCode("500112"), DistrictCode("500105")

Counter = tuple[date, DistrictCode]


def take(open_unit_of_work: OpenUnitOfWork, wanted: Mapping[Counter, int], *, commit: bool = True) -> Mapping[Counter, int]:
    with open_unit_of_work() as uow:
        answer = uow.numbers.take(wanted)
        if commit:
            uow.commit()
    return answer


def test_numbers_begin_at_one_and_follow_each_other(open_unit_of_work: OpenUnitOfWork) -> None:
    answers = [take(open_unit_of_work, {(DAY, YUBEI): count}) for count in (1, 3, 64)]

    assert answers == [{(DAY, YUBEI): 1}, {(DAY, YUBEI): 4}, {(DAY, YUBEI): 68}]


def test_each_day_and_each_district_has_a_sequence_of_its_own(open_unit_of_work: OpenUnitOfWork) -> None:
    tomorrow = DAY + timedelta(days=1)
    take(open_unit_of_work, {(DAY, YUBEI): 7})

    answer = take(open_unit_of_work, {(DAY, YUBEI): 1, (DAY, JIANGBEI): 2, (tomorrow, YUBEI): 3})

    assert answer == {(DAY, YUBEI): 8, (DAY, JIANGBEI): 2, (tomorrow, YUBEI): 3}


def test_nothing_wanted_is_nothing_taken(open_unit_of_work: OpenUnitOfWork) -> None:
    assert take(open_unit_of_work, {}) == {}


def test_numbers_that_were_not_committed_are_given_out_again(open_unit_of_work: OpenUnitOfWork) -> None:
    take(open_unit_of_work, {(DAY, YUBEI): 5}, commit=False)

    assert take(open_unit_of_work, {(DAY, YUBEI): 1}) == {(DAY, YUBEI): 1}


def test_eight_who_take_at_once_get_every_number_once(open_unit_of_work: OpenUnitOfWork) -> None:
    together = threading.Barrier(8)

    def attempt(i: int) -> list[tuple[DistrictCode, int]]:
        together.wait(20)
        taken = []
        for _ in range(10):
            # Half of them name the districts the other way round.
            districts = (YUBEI, JIANGBEI) if i % 2 else (JIANGBEI, YUBEI)
            answer = take(open_unit_of_work, {(DAY, district): i + 1 for district in districts})
            taken += [(district, last - back) for (_, district), last in answer.items() for back in range(i + 1)]
        return taken

    with ThreadPoolExecutor(8) as pool:
        taken = [number for each in pool.map(attempt, range(8)) for number in each]

    assert sorted(taken) == sorted((district, n) for district in (YUBEI, JIANGBEI) for n in range(1, 361))
