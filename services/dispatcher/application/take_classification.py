"""The classifier answered: choose the unit, if nobody has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.dispatcher.application.deciding import record
from services.dispatcher.application.early import submitted_or_kept
from services.dispatcher.domain.values import Method, TriageReason

if TYPE_CHECKING:
    from services.dispatcher.application.ports import Office, UnitOfWork
    from services.dispatcher.domain.commands import TakeClassification


def take_classification(office: Office, uow: UnitOfWork, command: TakeClassification) -> None:
    """Choose by the classifier's answer. After rules, desk or duty desk decided it only improves the desk's guesses."""
    dispatch = submitted_or_kept(uow, command)
    if dispatch is None or dispatch.ticket is None:
        return
    dispatch.classify(command.classification)
    unanswered = dispatch.triage is not None and dispatch.triage.reason is TriageReason.NO_CLASSIFICATION
    if not dispatch.awaits_classification and not unanswered:
        return
    choice = office.chooser.by_classification(dispatch.ticket, command.classification, uow.experience())
    decision = record(office, dispatch, choice, Method.AUTO)
    if dispatch.awaits_classification:
        dispatch.decide(decision, policy=office.chooser.policy)
    else:
        dispatch.improve_guesses(decision)
