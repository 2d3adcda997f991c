"""What became of a ticket, and what that says about its class.

Facts come from three topics that know nothing of each other's order, so they are kept as they come; epochs, not clocks, put them into
order. A unit is not a class: that a ticket was kept elsewhere names a class only together with what the model thought and with who leads
for which classes. Everything that stays unclear gives no label.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NewType

from services.classifier.domain.classification import OTHER, ClassCode, ClassProbability, ModelVersion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

TicketId = NewType("TicketId", str)
UnitCode = NewType("UnitCode", str)
Epoch = NewType("Epoch", int)

_CLEAR = 0.5
"""Share of a unit's probability that its best class must hold to be taken for the class of what the unit kept."""
_WEIGHT_OF_REOPENED = 0.5


class ChosenBy(StrEnum):
    """Who or what chose a unit."""

    MODEL = "model"
    RULES = "rules"
    DESK = "desk"
    NOBODY = "nobody"
    UNIT = "unit"
    TRANSFER = "transfer"
    REOPENING = "reopening"


class ReturnReason(StrEnum):
    """Why a unit sent a ticket back, as far as it matters here."""

    NOT_COMPETENT = "not_competent"
    WRONG_DISTRICT = "wrong_district"
    NOT_THE_CLASS = "not_the_class"


class Source(StrEnum):
    """What a label rests on, the strongest first."""

    DESK_DECISION = "desk_decision"
    RETURNED_AND_KEPT_ELSEWHERE = "returned_and_kept_elsewhere"
    TRANSFERRED_AND_KEPT = "transferred_and_kept"
    DECLINED = "declined"
    KEPT = "kept"


class Stage(StrEnum):
    """How far a ticket came with the unit that kept it."""

    ACCEPTED = "accepted"
    RESOLVED = "resolved"
    CLOSED = "closed"


WEIGHTS: Mapping[Source, float] = {
    Source.DESK_DECISION: 1.0,
    Source.RETURNED_AND_KEPT_ELSEWHERE: 0.9,
    Source.TRANSFERRED_AND_KEPT: 0.8,
    Source.DECLINED: 0.5,
    Source.KEPT: 0.3,
}
"""A person's word about the class weighs most; that nobody objected says least, since misroutes are accepted in silence."""

STAGES: Mapping[Stage, float] = {Stage.ACCEPTED: 0.6, Stage.RESOLVED: 0.8, Stage.CLOSED: 1.0}
"""Who has accepted may still return; who has resolved has worked on it; what was closed nobody disputed."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model said.

    Attributes:
        ranked: Its best classes, best first; at least one.
        model_version: Which model it was.
    """

    ranked: tuple[ClassProbability, ...]
    model_version: ModelVersion


@dataclass(frozen=True, slots=True)
class Assignment:
    """A unit was given the ticket.

    Attributes:
        unit: Which one.
        chosen_by: Who or what chose it.
        class_code: Class that decided; after a return or a transfer still the class before it. None if none decided.
    """

    unit: UnitCode
    chosen_by: ChosenBy
    class_code: ClassCode | None


@dataclass(slots=True, kw_only=True)
class Facts:
    """Everything known about one ticket.

    Attributes:
        text: The request, without numbers that may identify a person; None while it is not known, and for ever if it is confidential.
        confidential: True if it may not be kept.
        submit_time: When it was submitted; None while that is not known.
        prediction: What the model said first; None while that is not known.
        assignments: By epoch.
        returns: Why the unit of an epoch sent it back.
        accepted: Epochs whose unit signed for it.
        resolved: Epochs whose unit solved it.
        reopened: True if the enterprise disputed a solution.
        closed: True if nothing more is to come.
        withdrawn: True if the enterprise took it back.
        declined: True if the desk declined it as no matter of the city's units.
        unread: Stored parts of a newer release, which are kept unchanged.
    """

    text: str | None = None
    confidential: bool = False
    submit_time: datetime | None = None
    prediction: Prediction | None = None
    assignments: dict[Epoch, Assignment] = field(default_factory=dict)
    returns: dict[Epoch, ReturnReason] = field(default_factory=dict)
    accepted: set[Epoch] = field(default_factory=set)
    resolved: set[Epoch] = field(default_factory=set)
    reopened: bool = False
    closed: bool = False
    withdrawn: bool = False
    declined: bool = False
    unread: dict[str, object] = field(default_factory=dict)

    def sent_by_model(self) -> dict[Epoch, ClassCode]:
        """Return the class of each assignment that the model's answer decided."""
        return {
            epoch: given.class_code
            for epoch, given in self.assignments.items()
            if given.chosen_by is ChosenBy.MODEL and given.class_code is not None
        }

    def refused_of_model(self) -> dict[Epoch, ClassCode]:
        """Return those of them that came back because the class was wrong."""
        return {epoch: code for epoch, code in self.sent_by_model().items() if self.returns.get(epoch) is ReturnReason.NOT_COMPETENT}


@dataclass(frozen=True, slots=True)
class Label:
    """The class that outcomes speak for.

    Attributes:
        class_code: Which.
        weight: How much it counts against a text whose class was written down by hand, 0–1, above 0.
        source: What it rests on.
    """

    class_code: ClassCode
    weight: float
    source: Source


class Duties:
    """Which classes a unit leads for."""

    def __init__(
        self,
        of_departments: Mapping[UnitCode, AbstractSet[ClassCode]],
        of_districts: AbstractSet[ClassCode],
        departments: AbstractSet[UnitCode],
    ) -> None:
        """Take the catalogue's word.

        Args:
            of_departments: Classes by the department in whose line they are.
            of_districts: Classes for which the district's team leads; the same for all districts.
            departments: All departments, and whoever else is no district's team.
        """
        self._of_departments = of_departments
        self._of_districts = of_districts
        self._departments = departments

    def of(self, unit: UnitCode) -> AbstractSet[ClassCode]:
        """Return them."""
        return self._of_departments.get(unit, frozenset()) if unit in self._departments else self._of_districts


def label_of(facts: Facts, duties: Duties) -> Label | None:
    """Return the label that a ticket's outcome gives, or None while or because it gives none.

    Of a confidential ticket nothing is learnt, nor of one that was withdrawn.
    """
    if facts.confidential or facts.withdrawn:
        return None
    if facts.declined:
        return Label(OTHER, WEIGHTS[Source.DECLINED], Source.DECLINED)
    last = max(facts.assignments, default=None)
    if last is None or last in facts.returns:
        return None
    stage = _stage(facts, last)
    found = _class_of_keeper(facts, duties) if stage is not None else None
    if stage is None or found is None:
        return None
    code, source, share = found
    weight = WEIGHTS[source] * STAGES[stage] * share
    return Label(code, weight * _WEIGHT_OF_REOPENED if facts.reopened else weight, source)


def _stage(facts: Facts, last: Epoch) -> Stage | None:
    if last in facts.resolved:
        return Stage.CLOSED if facts.closed else Stage.RESOLVED
    return Stage.ACCEPTED if last in facts.accepted else None


def _class_of_keeper(facts: Facts, duties: Duties) -> tuple[ClassCode, Source, float] | None:
    """Return the class of what the last unit kept, what that rests on, and how clear it is."""
    # A reopened ticket goes back to where it was: the choice before that is the one that counts.
    epoch = max((each for each, given in facts.assignments.items() if given.chosen_by is not ChosenBy.REOPENING), default=None)
    if epoch is None:
        return None
    kept = facts.assignments[epoch]
    refused = {given.class_code for each, given in facts.assignments.items() if facts.returns.get(each) is ReturnReason.NOT_COMPETENT}
    match kept.chosen_by:
        case ChosenBy.DESK:
            if kept.class_code is None:
                return _class_of_move(kept, facts, duties, refused, Source.DESK_DECISION)
            return None if kept.class_code in refused else (kept.class_code, Source.DESK_DECISION, 1.0)
        case ChosenBy.NOBODY:
            return None
        case ChosenBy.UNIT | ChosenBy.TRANSFER:
            moved = Source.TRANSFERRED_AND_KEPT if kept.chosen_by is ChosenBy.TRANSFER else Source.RETURNED_AND_KEPT_ELSEWHERE
            return _class_of_move(kept, facts, duties, refused, moved)
        case _:
            return None if kept.class_code is None or kept.class_code in refused else (kept.class_code, Source.KEPT, 1.0)


def _class_of_move(
    kept: Assignment,
    facts: Facts,
    duties: Duties,
    refused: AbstractSet[ClassCode | None],
    moved: Source,
) -> tuple[ClassCode, Source, float] | None:
    own = duties.of(kept.unit)
    if kept.class_code is not None and kept.class_code in own and kept.class_code not in refused:
        # Only the place was wrong, e.g. the district; whoever leads for the class has it now.
        return kept.class_code, Source.KEPT, 1.0
    best = _best_of(own, facts.prediction.ranked if facts.prediction else ())
    if best is None or best[0] in refused or best[1] < _CLEAR:
        return None
    return best[0], moved, best[1]


def _best_of(own: AbstractSet[ClassCode], ranked: Sequence[ClassProbability]) -> tuple[ClassCode, float] | None:
    """Return the likeliest of a unit's classes with its share of what they hold together."""
    among = [each for each in ranked if each.code in own]
    held = sum(each.probability for each in among)
    if held > 0:
        return among[0].code, among[0].probability / held
    return (next(iter(own)), 1.0) if len(own) == 1 else None
