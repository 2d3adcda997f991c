"""Take in one fact about what became of a ticket."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from services.classifier.domain.outcomes import label_of
from services.classifier.domain.personal_data import without_personal_data

if TYPE_CHECKING:
    from datetime import datetime

    from services.classifier.application.ports import LearningUnitOfWork
    from services.classifier.domain.outcomes import Assignment, Duties, Epoch, Facts, Prediction, ReturnReason, TicketId


class Act(StrEnum):
    """What a unit did with the ticket of an epoch, besides sending it back."""

    ACCEPTED = "accepted"
    RESOLVED = "resolved"


class Turn(StrEnum):
    """What happened to a ticket as a whole."""

    REOPENED = "reopened"
    CLOSED = "closed"
    WITHDRAWN = "withdrawn"
    DECLINED = "declined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """It was submitted."""

    ticket_id: TicketId
    text: str
    confidential: bool
    submit_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """A model answered."""

    ticket_id: TicketId
    prediction: Prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """A unit was given it."""

    ticket_id: TicketId
    epoch: Epoch
    assignment: Assignment


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """The unit sent it back."""

    ticket_id: TicketId
    epoch: Epoch
    reason: ReturnReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """The unit accepted or solved it."""

    ticket_id: TicketId
    epoch: Epoch
    act: Act


@dataclass(frozen=True, slots=True, kw_only=True)
class Turned:
    """It was reopened, closed, withdrawn or declined."""

    ticket_id: TicketId
    turn: Turn


Fact = Submitted | Predicted | Assigned | Returned | Acted | Turned


def note_outcome(uow: LearningUnitOfWork, duties: Duties, fact: Fact) -> None:
    """Keep a fact, and with it the label that the ticket's facts give now; facts of different topics come in any order."""
    facts = uow.outcomes.get(fact.ticket_id)
    _note(facts, fact)
    uow.outcomes.put(fact.ticket_id, label_of(facts, duties))


def _note(facts: Facts, fact: Fact) -> None:
    match fact:
        case Submitted():
            facts.confidential = fact.confidential
            facts.text = None if fact.confidential else without_personal_data(fact.text)
            facts.submit_time = fact.submit_time
        case Predicted():
            # The dispatcher goes by the first answer that reaches it, too.
            facts.prediction = facts.prediction or fact.prediction
        case Assigned():
            facts.assignments[fact.epoch] = fact.assignment
        case Returned():
            facts.returns[fact.epoch] = fact.reason
        case Acted():
            (facts.accepted if fact.act is Act.ACCEPTED else facts.resolved).add(fact.epoch)
        case Turned():
            _turn(facts, fact.turn)


def _turn(facts: Facts, turn: Turn) -> None:
    match turn:
        case Turn.REOPENED:
            facts.reopened, facts.closed = True, False
        case Turn.CLOSED:
            facts.closed = True
        case Turn.WITHDRAWN:
            facts.withdrawn = True
        case Turn.DECLINED:
            facts.declined = True
