from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from services.classifier.adapters.duties import read_duties
from services.classifier.adapters.facts_json import from_json, to_json
from services.classifier.domain.classification import ClassCode, ClassProbability, ModelVersion
from services.classifier.domain.outcomes import (
    Assignment,
    ChosenBy,
    Epoch,
    Facts,
    Prediction,
    ReturnReason,
    Source,
    UnitCode,
    label_of,
)
from services.classifier.training import catalogue
from tests.unit.classifier.builders import NOW

if TYPE_CHECKING:
    from services.classifier.domain.outcomes import Label

DUTIES = read_duties(catalogue.DEFAULT)
DISTRICT, ANOTHER_DISTRICT = "500112", "500107"
RANKED = (("fee_burden", 0.5), ("law_enforcement", 0.3), ("fire_review", 0.1))


def facts(*assignments: tuple[str, ChosenBy, str | None], **known: object) -> Facts:
    """A ticket that was given to units in turn; all but the last sent it back as not theirs, the last solved it."""
    epochs = {
        Epoch(number): Assignment(UnitCode(unit), by, code and ClassCode(code)) for number, (unit, by, code) in enumerate(assignments, 1)
    }
    last = Epoch(len(assignments))
    given: dict[str, object] = {
        "text": "乱收费",
        "submit_time": NOW,
        "prediction": Prediction(tuple(ClassProbability(ClassCode(code), p) for code, p in RANKED), ModelVersion("m")),
        "assignments": epochs,
        "returns": {epoch: ReturnReason.NOT_COMPETENT for epoch in epochs if epoch != last},
        "resolved": {last},
        **known,
    }
    return Facts(**given)  # type: ignore[arg-type]  # each test changes some


def label(of: Facts) -> Label | None:
    return label_of(of, DUTIES)


def test_what_the_first_unit_keeps_confirms_the_class_weakly() -> None:
    found = label(facts(("jjxxw", ChosenBy.MODEL, "fee_burden")))

    assert found is not None
    assert (found.class_code, found.source) == ("fee_burden", Source.KEPT)
    assert found.weight == pytest.approx(0.3 * 0.8)


def test_what_is_returned_and_kept_elsewhere_is_of_the_likeliest_class_that_the_keeper_leads_for() -> None:
    found = label(facts(("jjxxw", ChosenBy.MODEL, "fee_burden"), ("sfj", ChosenBy.UNIT, "fee_burden")))

    assert found is not None
    assert (found.class_code, found.source) == ("law_enforcement", Source.RETURNED_AND_KEPT_ELSEWHERE)
    assert found.weight == pytest.approx(0.9 * 0.8)


def test_a_district_team_leads_for_the_classes_that_go_to_districts_first() -> None:
    found = label(facts(("jjxxw", ChosenBy.MODEL, "fee_burden"), (DISTRICT, ChosenBy.TRANSFER, "fee_burden")))

    assert found is not None
    assert (found.class_code, found.source) == ("fire_review", Source.TRANSFERRED_AND_KEPT)


def test_the_class_that_the_desk_names_counts_most() -> None:
    found = label(facts(("jjxxw", ChosenBy.MODEL, "fee_burden"), ("scjgj", ChosenBy.DESK, "fair_competition"), closed=True))

    assert found is not None
    assert (found.class_code, found.source, found.weight) == ("fair_competition", Source.DESK_DECISION, 1.0)


def test_a_ticket_that_was_declined_is_other() -> None:
    found = label(facts(("jjxxw", ChosenBy.MODEL, "fee_burden"), declined=True))

    assert found is not None
    assert (found.class_code, found.source) == ("other", Source.DECLINED)


def test_a_wrong_district_is_no_wrong_class() -> None:
    moved = facts(
        (DISTRICT, ChosenBy.MODEL, "fire_review"),
        (ANOTHER_DISTRICT, ChosenBy.UNIT, "fire_review"),
        returns={Epoch(1): ReturnReason.WRONG_DISTRICT},
    )

    found = label(moved)

    assert found is not None
    assert (found.class_code, found.source) == ("fire_review", Source.KEPT)


def test_a_reopened_ticket_says_half_as_much() -> None:
    steps = (("jjxxw", ChosenBy.MODEL, "fee_burden"), ("jjxxw", ChosenBy.REOPENING, "fee_burden"))

    found = label(facts(*steps, returns={}, reopened=True, closed=True))

    assert found is not None
    assert (found.class_code, found.weight) == ("fee_burden", pytest.approx(0.15))


@pytest.mark.parametrize(
    ("why", "unclear"),
    [
        ("nobody has it", facts()),
        ("it is on its way", facts(("jjxxw", ChosenBy.MODEL, "fee_burden"), resolved=set())),
        ("the last unit returned it", facts(("jjxxw", ChosenBy.MODEL, "fee_burden"), returns={Epoch(1): ReturnReason.NOT_COMPETENT})),
        ("the duty desk kept it", facts(("dutydesk", ChosenBy.NOBODY, None))),
        ("it was withdrawn", facts(("jjxxw", ChosenBy.MODEL, "fee_burden"), withdrawn=True)),
        ("it is confidential", facts(("jjxxw", ChosenBy.MODEL, "fee_burden"), confidential=True, text=None)),
        (
            "the keeper leads for nothing that is likely",
            facts(("jjxxw", ChosenBy.MODEL, "fee_burden"), ("scjgj", ChosenBy.UNIT, "fee_burden")),
        ),
        (
            "one district's team refused the class and another kept it",
            facts((DISTRICT, ChosenBy.MODEL, "fire_review"), (ANOTHER_DISTRICT, ChosenBy.UNIT, "fire_review")),
        ),
        ("no model had an opinion", facts(("jjxxw", ChosenBy.MODEL, "fee_burden"), (DISTRICT, ChosenBy.UNIT, None), prediction=None)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_stays_unclear_gives_no_label(why: str, unclear: Facts) -> None:
    assert label(unclear) is None, why


def test_facts_survive_being_kept() -> None:
    known = facts(("jjxxw", ChosenBy.MODEL, "fee_burden"), ("sfj", ChosenBy.UNIT, None), accepted={Epoch(2)}, closed=True)

    assert from_json(to_json(known), known.text, known.submit_time) == known
    assert from_json(to_json(Facts()), None, None) == Facts()
