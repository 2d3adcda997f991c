"""Whatever a text says and whatever codes come with it, somebody is chosen, or a person is asked, and nothing breaks."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.domain.choosing import Chooser
from services.dispatcher.domain.values import (
    AbstainReason,
    Choice,
    ClassCode,
    Classification,
    ClassProbability,
    KeepCount,
    UnitCode,
    civil_day,
)
from tests.unit.dispatcher.builders import CATALOGUE, POLICY, ticket

CHOOSER = Chooser(CATALOGUE, POLICY)

words = st.sampled_from(
    [
        *(alias.name for alias in CATALOGUE.aliases),
        *(district.name_zh for district in CATALOGUE.districts.values()),
        *(word for rule in CATALOGUE.rules for group in rule.all_of for word in group),
    ],
)
texts = st.lists(words | st.text(max_size=10), max_size=12).map("".join)
districts = st.sampled_from(["", "999999", "310115", *CATALOGUE.districts]) | st.text(max_size=6)
classes = st.sampled_from([*CATALOGUE.classes, "other", "unknown"])
units = st.sampled_from([unit.code for unit in CATALOGUE.every_unit])
days = st.integers(1_704_067_200, 1_830_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
counts = st.dictionaries(
    st.tuples(units, classes.map(ClassCode)),
    st.builds(KeepCount, kept=st.integers(0, 10**6), returned=st.integers(0, 10**6)),
    max_size=5,
)


@st.composite
def classifications(draw: st.DrawFn) -> Classification:
    codes = draw(st.lists(classes, max_size=5, unique=True))
    weights = [draw(st.floats(0, 1)) for _ in codes]
    total = max(1.0, sum(weights))
    ranked = sorted(zip((weight / total for weight in weights), codes, strict=True), reverse=True)
    return Classification(
        ranked=tuple(ClassProbability(class_code=ClassCode(code), probability=probability) for probability, code in ranked),
        abstain_reason=draw(st.none() | st.sampled_from(AbstainReason)),
        model_version="any",
    )


def check(choice: Choice, at: datetime) -> None:
    day = civil_day(at)
    assert (choice.lead is None) is (choice.triage_reason is not None)
    assert choice.explanation
    for unit in (*([choice.lead] if choice.lead else []), *choice.co_handlers):
        assert CATALOGUE.unit(unit, day) is not None, "a unit that is not in force on the ticket's day"
    assert choice.lead not in choice.co_handlers
    assert len(set(choice.co_handlers)) == len(choice.co_handlers)
    if choice.district.code is not None:
        assert CATALOGUE.districts[choice.district.code].in_force(day)
    relevances = [candidate.relevance for candidate in choice.candidates]
    assert relevances == sorted(relevances, reverse=True)
    assert all(0 <= relevance <= 1 for relevance in relevances)


@given(texts, districts, districts, days, classifications(), counts)
def test_a_classification_is_turned_into_a_unit_in_force_or_a_question_to_a_person(
    text: str,
    requested: str,
    registered: str,
    at: datetime,
    answer: Classification,
    experience: dict[tuple[UnitCode, ClassCode], KeepCount],
) -> None:
    given_ticket = ticket(text=text, request_district=requested, enterprise_district=registered, submit_time=at)

    choice = CHOOSER.by_classification(given_ticket, answer, experience)

    check(choice, at)
    if choice.lead is not None:
        assert answer.abstain_reason is None
        assert choice.candidates[0].unit == choice.lead
        assert choice.candidates[0].relevance >= POLICY.threshold
    assert CHOOSER.by_classification(given_ticket, answer, experience) == choice


@given(texts, districts, districts, days, counts)
def test_the_rules_turn_any_text_into_a_unit_in_force_or_a_question_to_a_person(
    text: str, requested: str, registered: str, at: datetime, experience: dict[tuple[UnitCode, ClassCode], KeepCount]
) -> None:
    given_ticket = ticket(text=text, request_district=requested, enterprise_district=registered, submit_time=at)

    choice = CHOOSER.by_rules(given_ticket, experience)

    check(choice, at)


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000))
def test_keeping_more_never_makes_a_unit_less_relevant_and_returning_more_never_more(kept: int, returned: int, more: int) -> None:
    answer = Classification(
        ranked=(ClassProbability(class_code=ClassCode("customs_clearance"), probability=0.9),),
        abstain_reason=None,
        model_version="any",
    )

    def relevance(count: KeepCount) -> float:
        choice = CHOOSER.by_classification(ticket(text="报关"), answer, {(UnitCode("hg"), ClassCode("customs_clearance")): count})
        return next(candidate.relevance for candidate in choice.candidates if candidate.unit == "hg")

    base = relevance(KeepCount(kept=kept, returned=returned))

    assert relevance(KeepCount(kept=kept + more, returned=returned)) >= base
    assert relevance(KeepCount(kept=kept, returned=returned + more)) <= base
