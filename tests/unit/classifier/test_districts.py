from __future__ import annotations

import pytest

from services.classifier.domain.districts import DistrictFinder
from tests.unit.classifier.builders import district_names


@pytest.fixture(scope="module")
def finder() -> DistrictFinder:
    return DistrictFinder(district_names())


@pytest.mark.parametrize(
    ("text", "district"),
    [
        ("我们在璧山区的厂停电了", "500120"),
        ("厂子在壁山,三天没电", "500120"),
        ("彭水的榨菜加工厂", "500243"),
        ("江津市双福那边", "500116"),
        ("涪陵的车间和涪陵的仓库,老板在江津", "500102"),
    ],
)
def test_a_district_is_found_by_its_full_short_old_or_misheard_name(finder: DistrictFinder, text: str, district: str) -> None:
    assert finder.find(text) == district


@pytest.mark.parametrize("text", ["长寿命轴承的检测去哪做", "长江南岸的码头", "宁波市江北的客户不付款", "厂房漏水", ""])
def test_a_word_that_only_looks_like_a_district_is_none(finder: DistrictFinder, text: str) -> None:
    assert finder.find(text) is None


def test_a_finder_that_knows_no_names_finds_nothing() -> None:
    assert DistrictFinder({}).find("璧山") is None
