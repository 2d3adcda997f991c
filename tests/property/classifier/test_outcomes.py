from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from services.classifier.adapters.duties import read_duties
from services.classifier.adapters.facts_json import from_json, to_json
from services.classifier.domain.classification import OTHER, ClassCode, ClassProbability, ModelVersion
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

DUTIES = read_duties(catalogue.DEFAULT)
CODES = [each.code for each in catalogue.read_classes(catalogue.DEFAULT)]
UNITS = [UnitCode(code) for code in ("jjxxw", "scjgj", "sfj", "ghzrzyj", "sww", "500112", "500107", "dutydesk")]

codes = st.sampled_from(CODES)
epochs = st.integers(1, 4).map(Epoch)
predictions = st.lists(codes, min_size=1, max_size=5, unique=True).map(
    lambda ranked: Prediction(
        tuple(ClassProbability(ClassCode(code), 1 / (rank + 2)) for rank, code in enumerate(ranked)), ModelVersion("m")
    )
)
assignments = st.builds(Assignment, st.sampled_from(UNITS), st.sampled_from(ChosenBy), st.none() | codes)
some_facts = st.builds(
    Facts,
    text=st.none() | st.text(max_size=20),
    confidential=st.booleans(),
    prediction=st.none() | predictions,
    assignments=st.dictionaries(epochs, assignments, max_size=4),
    returns=st.dictionaries(epochs, st.sampled_from(ReturnReason), max_size=2),
    accepted=st.sets(epochs),
    resolved=st.sets(epochs),
    reopened=st.booleans(),
    closed=st.booleans(),
    withdrawn=st.booleans(),
    declined=st.booleans(),
)


@given(some_facts)
def test_whatever_happened_there_is_at_most_one_label_of_the_catalogue_with_a_weight_above_0_up_to_1(facts: Facts) -> None:
    label = label_of(facts, DUTIES)

    if label is not None:
        assert label.class_code in CODES
        assert 0 < label.weight <= 1
        assert label.source in Source


@given(some_facts)
def test_nothing_is_learnt_from_confidential_or_withdrawn_tickets(facts: Facts) -> None:
    assert label_of(replace(facts, confidential=True), DUTIES) is None
    assert label_of(replace(facts, withdrawn=True), DUTIES) is None


@given(some_facts)
def test_a_class_that_its_unit_refused_is_never_the_label(facts: Facts) -> None:
    label = label_of(facts, DUTIES)

    refused = {
        facts.assignments[epoch].class_code
        for epoch, why in facts.returns.items()
        if epoch in facts.assignments and why is ReturnReason.NOT_COMPETENT
    }
    if label is not None and label.class_code != OTHER:
        assert label.class_code not in refused


@given(some_facts)
def test_that_nobody_objected_weighs_less_than_a_correction_that_came_as_far(facts: Facts) -> None:
    label = label_of(facts, DUTIES)

    if label is not None and label.source is Source.KEPT:
        assert label.weight <= 0.3
    if label is not None and label.source in {Source.DESK_DECISION, Source.RETURNED_AND_KEPT_ELSEWHERE, Source.TRANSFERRED_AND_KEPT}:
        assert label.weight >= 0.8 * 0.6 * 0.5 * 0.5


@given(some_facts)
def test_what_comes_later_about_the_ticket_never_strengthens_a_label_when_it_is_a_dispute(facts: Facts) -> None:
    calm, disputed = (label_of(replace(facts, reopened=reopened), DUTIES) for reopened in (False, True))

    assert (calm is None) == (disputed is None)
    assert calm is None or disputed is None or disputed.weight <= calm.weight


@given(some_facts)
def test_kept_facts_give_the_same_label(facts: Facts) -> None:
    read = from_json(to_json(facts), facts.text, facts.submit_time)

    label, again = label_of(facts, DUTIES), label_of(read, DUTIES)
    assert (label and (label.class_code, label.source)) == (again and (again.class_code, again.source))
