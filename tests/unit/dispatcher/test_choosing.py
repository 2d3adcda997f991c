from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pytest

from services.dispatcher.domain.choosing import Chooser
from services.dispatcher.domain.values import (
    DUTY_DESK,
    AbstainReason,
    Choice,
    ClassCode,
    DistrictCode,
    DistrictSource,
    DistrictUsed,
    KeepCount,
    TriageReason,
    UnitCode,
)
from tests.unit.dispatcher.builders import CATALOGUE, FINANCE, INDUSTRY, MARKET, POLICY, YUZHONG, classification, ticket

if TYPE_CHECKING:
    from services.dispatcher.domain.values import Classification

CHOOSER = Chooser(CATALOGUE, POLICY)
YUZHONG_DISTRICT = DistrictCode("500103")
NO_EXPERIENCE: dict[tuple[UnitCode, ClassCode], KeepCount] = {}
BEFORE_THE_REFORM = datetime(2025, 11, 5, 15, 59, 59, tzinfo=UTC)  # 23:59:59 in Chongqing
AFTER_THE_REFORM = datetime(2025, 11, 5, 16, 0, tzinfo=UTC)  # 00:00 of 2025-11-06 in Chongqing


def choose(answer: Classification, counts: dict[tuple[UnitCode, ClassCode], KeepCount] | None = None, **facts: Any) -> Choice:
    return CHOOSER.by_classification(ticket(**facts), answer, counts or NO_EXPERIENCE)


def test_a_district_first_class_goes_to_the_districts_team() -> None:
    choice = choose(classification(("business_registration", 0.9)), request_district="500103", text="营业执照换地址")

    assert choice.lead == YUZHONG
    assert choice.co_handlers == ("swj", "gaj")
    assert choice.class_code == "business_registration"
    assert "渝中区" in choice.explanation


def test_without_a_district_the_municipal_department_stands_in_for_the_team() -> None:
    choice = choose(classification(("business_registration", 0.9)), text="营业执照换地址")

    assert choice.lead == MARKET
    assert choice.district == DistrictUsed(code=None, source=DistrictSource.NONE)


def test_a_municipal_class_goes_to_the_department_whatever_the_district() -> None:
    choice = choose(classification(("guarantee_discount", 0.9)), request_district="500103", text="贴息没到")

    assert choice.lead == FINANCE
    assert choice.co_handlers == ("jrb", "jjxxw")


def test_a_joint_class_goes_to_the_department_with_the_districts_team_beside_it() -> None:
    choice = choose(classification(("power_supply", 0.9)), request_district="500103")

    assert choice.lead == INDUSTRY
    assert choice.co_handlers == (YUZHONG,)
    assert "市能源局" in choice.explanation


def test_the_requests_district_comes_before_the_texts_and_the_texts_before_the_enterprises() -> None:
    facts = {"request_district": "500103", "text": "涪陵的厂停电", "enterprise_district": "500101"}

    by_request = CHOOSER.district_of(ticket(**facts))
    by_text = CHOOSER.district_of(ticket(**{**facts, "request_district": ""}))
    by_enterprise = CHOOSER.district_of(ticket(**{**facts, "request_district": "", "text": "厂里停电"}))

    assert (by_request.code, by_request.source) == ("500103", DistrictSource.REQUEST)
    assert (by_text.code, by_text.source) == ("500102", DistrictSource.TEXT)
    assert (by_enterprise.code, by_enterprise.source) == ("500101", DistrictSource.ENTERPRISE)


def test_a_text_that_names_two_districts_leaves_the_enterprises() -> None:
    used = CHOOSER.district_of(ticket(text="从江津迁到璧山", enterprise_district="500116"))

    assert (used.code, used.source) == ("500116", DistrictSource.ENTERPRISE)


@pytest.mark.parametrize(("at", "expected"), [(BEFORE_THE_REFORM, "500112"), (AFTER_THE_REFORM, "500171")])
def test_an_old_code_in_a_request_means_the_district_in_force_when_it_was_submitted(at: datetime, expected: str) -> None:
    choice = choose(classification(("tax_filing", 0.95)), request_district="500112", submit_time=at, text="开不出票")

    assert choice.lead == expected


def test_an_old_code_in_a_credit_code_follows_the_town_that_the_text_names() -> None:
    choice = choose(classification(("tax_filing", 0.95)), enterprise_district="500112", text="茨竹镇的农庄开不出票")

    assert choice.lead == "500109"


def test_a_credit_code_from_elsewhere_names_no_district() -> None:
    used = CHOOSER.district_of(ticket(text="停电", enterprise_district="310115"))

    assert used == DistrictUsed(code=None, source=DistrictSource.NONE)


def test_an_unknown_district_in_a_request_goes_to_a_person_where_a_district_has_a_part() -> None:
    joint = choose(classification(("power_supply", 0.95)), request_district="999999")
    municipal = choose(classification(("guarantee_discount", 0.95)), request_district="999999")

    assert joint.triage_reason is TriageReason.NOT_IN_CATALOGUE
    assert municipal.lead == FINANCE


def test_classes_that_lead_to_the_same_unit_speak_for_it_together() -> None:
    choice = choose(
        classification(("business_registration", 0.4), ("industry_licence", 0.3), ("data_platform", 0.3)),
        request_district="500103",
        text="办证",
    )

    assert choice.lead == YUZHONG
    assert choice.class_code == "business_registration"
    assert choice.class_probability == pytest.approx(0.4)
    assert choice.candidates[0].relevance == pytest.approx(0.7 * 0.95)


def test_the_best_unit_below_the_threshold_goes_to_a_person() -> None:
    choice = choose(classification(("power_supply", 0.52)))

    assert choice.lead is None
    assert choice.triage_reason is TriageReason.UNSURE
    assert choice.candidates[0].unit == INDUSTRY
    assert "0.49" in choice.explanation


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (classification(("power_supply", 0.99), abstained=AbstainReason.UNSURE), TriageReason.UNSURE),
        (classification(("power_supply", 0.99), abstained=AbstainReason.TOO_LITTLE), TriageReason.UNSURE),
        (classification(("power_supply", 0.99), abstained=AbstainReason.OUT_OF_SCOPE), TriageReason.OUT_OF_SCOPE),
        (classification(("other", 0.99)), TriageReason.OUT_OF_SCOPE),
        (classification(("teleportation", 0.99)), TriageReason.NOT_IN_CATALOGUE),
        (classification(), TriageReason.UNSURE),
    ],
)
def test_what_the_classifier_cannot_or_may_not_decide_goes_to_a_person(answer: Classification, reason: TriageReason) -> None:
    choice = choose(answer)

    assert choice.lead is None
    assert choice.triage_reason is reason


def test_a_unit_that_keeps_returning_a_class_loses_it_to_one_that_keeps_it() -> None:
    answer = classification(("power_supply", 0.95))
    experience = {
        (INDUSTRY, ClassCode("power_supply")): KeepCount(kept=0, returned=200),
        (YUZHONG, ClassCode("power_supply")): KeepCount(kept=200, returned=0),
    }

    before = choose(answer, request_district="500103")
    after = choose(answer, experience, request_district="500103")

    assert before.lead == INDUSTRY
    assert after.lead == YUZHONG
    assert INDUSTRY not in after.co_handlers


def test_a_few_returns_do_not_overturn_the_catalogue() -> None:
    experience = {(INDUSTRY, ClassCode("power_supply")): KeepCount(kept=0, returned=3)}

    choice = choose(classification(("power_supply", 0.95)), experience)

    assert choice.lead == INDUSTRY


def test_rules_choose_by_the_catalogue_when_one_class_clearly_leads() -> None:
    choice = CHOOSER.by_rules(ticket(text="这周停电三次,能不能装双回路", request_district="500103"), NO_EXPERIENCE)

    assert choice.lead == INDUSTRY
    assert choice.co_handlers == (YUZHONG,)
    assert set(choice.rules_hit) == {"power_supply.1", "power_supply.3"}
    assert choice.model_version == ""


def test_rules_that_do_not_decide_leave_their_guesses_to_the_desk() -> None:
    choice = CHOOSER.by_rules(ticket(text="没有产权证,银行贷款不批"), NO_EXPERIENCE)

    assert choice.lead is None
    assert choice.triage_reason is TriageReason.NO_CLASSIFICATION
    assert {"ghzrzyj", "jrb"} <= {candidate.unit for candidate in choice.candidates}


def test_a_suggested_team_brings_its_district_along() -> None:
    choice = CHOOSER.redirect(
        UnitCode("500102"),
        day=date(2026, 11, 23),
        class_code=ClassCode("tax_filing"),
        class_probability=0.9,
        district=DistrictUsed(code=DistrictCode("500103"), source=DistrictSource.TEXT),
        source=DistrictSource.RETURN,
        explanation="",
    )

    assert choice.district == DistrictUsed(code=DistrictCode("500102"), source=DistrictSource.RETURN)


def test_a_unit_that_the_catalogue_gives_no_part_in_the_class_leads_alone() -> None:
    known: dict[str, Any] = {
        "day": date(2026, 11, 23),
        "class_code": ClassCode("loan_financing"),
        "class_probability": 0.9,
        "district": DistrictUsed(code=YUZHONG_DISTRICT, source=DistrictSource.TEXT),
        "source": DistrictSource.RETURN,
        "explanation": "",
    }

    competent = CHOOSER.redirect(FINANCE, **known)
    foreign = CHOOSER.redirect(MARKET, **known)

    assert competent.co_handlers == (INDUSTRY, YUZHONG)
    assert foreign.co_handlers == ()


def test_the_duty_desk_works_without_co_handlers() -> None:
    choice = CHOOSER.redirect(
        DUTY_DESK,
        day=date(2026, 11, 23),
        class_code=ClassCode("business_registration"),
        class_probability=0.4,
        district=DistrictUsed(code=None, source=DistrictSource.NONE),
        source=DistrictSource.NONE,
        explanation="",
    )

    assert choice.co_handlers == ()


def test_a_suggestion_of_an_abolished_district_means_its_successor() -> None:
    day = date(2026, 11, 23)

    assert CHOOSER.unit_meant("500105", day) == "500171"
    assert CHOOSER.unit_meant("scjgj", day) == MARKET
    assert CHOOSER.unit_meant("nobody", day) is None


def test_no_more_than_five_candidates_are_kept_best_first() -> None:
    choice = choose(
        classification(("labour_dispute", 0.3), ("industry_licence", 0.3), ("loan_financing", 0.2), ("fair_competition", 0.2)),
        request_district="500103",
    )

    relevances = [candidate.relevance for candidate in choice.candidates]
    assert len(relevances) == 5
    assert relevances == sorted(relevances, reverse=True)
