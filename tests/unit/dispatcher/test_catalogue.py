from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import pytest

from services.dispatcher.adapters.catalogue import CLASSES, DISTRICTS, RULES, load_catalogue
from services.dispatcher.domain.catalogue import Alias, Catalogue, Level, UnitKind
from services.dispatcher.domain.errors import CatalogueInvalid
from services.dispatcher.domain.phrases import normalise
from services.dispatcher.domain.values import DUTY_DESK, DistrictCode, UnitCode
from tests.unit.dispatcher.builders import CATALOGUE, CATALOGUE_FOLDER

if TYPE_CHECKING:
    from pathlib import Path

LAST_DAY_OF_YUBEI = date(2025, 11, 5)
FIRST_DAY_AFTER = date(2025, 11, 6)
TODAY = date(2026, 11, 23)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copy = tmp_path / "catalogue"
    shutil.copytree(CATALOGUE_FOLDER, copy)
    return copy


def edit(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / name
    content = path.read_text(encoding="utf-8")
    assert old in content
    path.write_text(content.replace(old, new, 1), encoding="utf-8")


def test_the_city_has_42_classes_20_departments_41_district_teams_and_a_duty_desk() -> None:
    kinds = [unit.kind for unit in CATALOGUE.every_unit]

    assert len(CATALOGUE.classes) == 42
    assert (kinds.count(UnitKind.MUNICIPAL), kinds.count(UnitKind.DISTRICT), kinds.count(UnitKind.DUTY_DESK)) == (20, 41, 1)
    assert CATALOGUE.unit_name(DUTY_DESK) == "市级值班席"


def test_every_class_has_rules_and_every_level_is_in_use() -> None:
    ruled = {rule.class_code for rule in CATALOGUE.rules}

    assert ruled == set(CATALOGUE.classes)
    assert {entry.level for entry in CATALOGUE.classes.values()} == set(Level)


def test_co_handlers_that_are_no_units_are_kept_as_names() -> None:
    power = next(entry for entry in CATALOGUE.classes.values() if entry.code == "power_supply")

    assert power.co_handlers == ()
    assert power.outside_co_handlers == ("市能源局", "国网重庆市电力公司")


@pytest.mark.parametrize(
    ("day", "text", "expected"),
    [
        (LAST_DAY_OF_YUBEI, "", "500112"),
        (FIRST_DAY_AFTER, "", "500171"),
        (FIRST_DAY_AFTER, "厂在统景镇", "500109"),
        (LAST_DAY_OF_YUBEI, "厂在统景镇", "500112"),
    ],
)
def test_an_abolished_district_resolves_to_the_successor_in_force_on_the_day(day: date, text: str, expected: str) -> None:
    resolved = CATALOGUE.resolve_district("500112", day, text)

    assert resolved == expected


def test_a_code_outside_the_city_resolves_to_nothing() -> None:
    assert CATALOGUE.resolve_district("310115", TODAY) is None
    assert CATALOGUE.resolve_district("", TODAY) is None


def test_the_team_of_an_abolished_district_is_not_in_force_but_still_known() -> None:
    assert CATALOGUE.unit("500105", LAST_DAY_OF_YUBEI) is not None
    assert CATALOGUE.unit("500105", FIRST_DAY_AFTER) is None
    assert UnitCode("500105") in {unit.code for unit in CATALOGUE.every_unit}
    assert len(CATALOGUE.units_in_force(TODAY)) == 60


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("我们厂在涪陵李渡", "500102"),
        ("石柱土家族自治县黄水镇的民宿", "500240"),
        ("江北区观音桥的餐饮店", "500171"),
        ("渝北区大湾镇的农机厂", "500109"),
        ("璧山高新区管委会", "500120"),
        ("在高新区租了厂房", "500172"),
        ("壁山那边的厂房", "500120"),
        ("原来叫江津市的地方", "500116"),
        ("两江新区的车间,以前属于江北区", "500171"),
    ],
)
def test_a_district_is_found_by_any_of_its_names(text: str, expected: str) -> None:
    assert CATALOGUE.district_named_in(normalise(text), TODAY) == expected


@pytest.mark.parametrize(
    "text",
    [
        "公司从江津迁到璧山",
        "我们做长寿命电池",
        "长江北岸的码头",
        "被评为国家高新区的园区",
        "供应商在浙江北仑",
        "今年订单不好",
        "",
    ],
)
def test_no_district_is_found_where_none_or_several_are_named(text: str) -> None:
    assert CATALOGUE.district_named_in(normalise(text), TODAY) is None


def test_a_place_that_changed_hands_means_its_district_of_the_day() -> None:
    text = normalise("童家溪的仓库")

    assert CATALOGUE.district_named_in(text, LAST_DAY_OF_YUBEI) == "500109"
    assert CATALOGUE.district_named_in(text, FIRST_DAY_AFTER) == "500171"


def test_names_of_many_days_do_not_pile_up() -> None:
    for day in range(1, 29):
        CATALOGUE.district_named_in("涪陵", date(2026, 1, day))

    assert len(CATALOGUE._names) <= 9


def test_the_version_changes_with_any_file(folder: Path) -> None:
    before = load_catalogue(folder).version
    edit(folder, RULES, "fire_review.1,fire_review,6", "fire_review.1,fire_review,7")

    after = load_catalogue(folder).version

    assert before == CATALOGUE.version
    assert after != before


@pytest.mark.parametrize(
    ("name", "old", "new", "problem"),
    [
        (CLASSES, ",jrb,", ",nobody,", "its lead 'nobody' is no department"),
        (CLASSES, "planning_permit,project,", "project_filing,project,", "class project_filing stands 2 times"),
        (CLASSES, ",district_first,", ",whoever_first,", "classes.csv, row 2: 'whoever_first' is not a valid Level"),
        (DISTRICTS, "2025-11-06,500171,", "2025-11-06,500999,", "its successor '500999' is not in the catalogue"),
        (DISTRICTS, "2025-11-06,500171,", "2025-11-06,,", "it ended on 2025-11-06 and names no successor"),
        (DISTRICTS, "2025-11-06,500171,", ",500171,", "it names successors and has not ended"),
        (DISTRICTS, "2025-11-06,500171,", "soon,500171,", "districts.csv, row 6: Invalid isoformat string: 'soon'"),
        (DISTRICTS, "500102,涪陵区", "500101,涪陵区", "unit 500101 stands 2 times"),
        (RULES, "fire_review.1,fire_review,", "fire_review.1,fire,", "rule fire_review.1: there is no class 'fire'"),
        (RULES, "fire_review.1,fire_review,6", "fire_review.1,fire_review,-6", "weight -6 is not above 0"),
        (RULES, "fire_review.2,", "fire_review.1,", "rule fire_review.1 stands 2 times"),
        (RULES, "rule_id,class_code,weight", "rule_id,class_code,heaviness", "there is no column 'weight'"),
        ("departments.csv", "kjj,市科技局", ",市科技局", "departments.csv, row 4: code is empty"),
        ("district_aliases.csv", "涪陵,500102,short", "涪陵,500999,short", "district alias 涪陵: there is no district '500999'"),
        ("district_aliases.csv", "涪陵,500102,short", "万州,500102,short", "district alias 万州: it stands twice for the same days"),
        ("district_aliases.csv", "大湾,500109,part,500112", "大湾,500101,part,500112", "'500101' is no successor of '500112'"),
    ],
)
def test_a_catalogue_that_contradicts_itself_is_refused_with_the_reason(folder: Path, name: str, old: str, new: str, problem: str) -> None:
    edit(folder, name, old, new)

    with pytest.raises(CatalogueInvalid) as refused:
        load_catalogue(folder)

    assert any(problem in found for found in refused.value.problems), refused.value.problems


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / RULES).unlink()

    with pytest.raises(CatalogueInvalid, match=r"rules\.csv: cannot be read"):
        load_catalogue(folder)


def test_an_empty_catalogue_is_refused() -> None:
    with pytest.raises(CatalogueInvalid, match="there are no classes"):
        Catalogue(version="", classes=[], departments=[], districts=[], aliases=[], rules=[])


def test_a_successor_that_ended_earlier_is_refused() -> None:
    districts = [
        replace(each, valid_to=date(2025, 1, 1), succeeded_by=(DistrictCode("500109"),)) if each.code == "500171" else each
        for each in CATALOGUE.districts.values()
    ]

    with pytest.raises(CatalogueInvalid, match="its successor 500171 ended on 2025-01-01, not after it"):
        Catalogue(version="", classes=[], departments=[], districts=districts, aliases=[], rules=[])


def test_aliases_are_valid_from_their_first_day_to_the_day_before_their_end() -> None:
    alias = Alias(name="某地", district=None, valid_from=date(2026, 1, 2), valid_to=date(2026, 1, 4))

    assert [alias.in_force(date(2026, 1, day)) for day in (1, 2, 3, 4)] == [False, True, True, False]
