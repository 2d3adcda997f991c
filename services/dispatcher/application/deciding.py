"""Parts that several use cases share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.dispatcher.domain.errors import DispatchNotFound, UnknownUnit
from services.dispatcher.domain.values import DecisionId, DecisionRecord, State, UnitCode, civil_day

if TYPE_CHECKING:
    from datetime import date

    from services.dispatcher.application.ports import Office, UnitOfWork
    from services.dispatcher.domain.commands import UnitCommand
    from services.dispatcher.domain.dispatch import Dispatch
    from services.dispatcher.domain.values import Candidate, Choice, Method, TicketId


def record(office: Office, dispatch: Dispatch, choice: Choice, method: Method, *, by: str = "") -> DecisionRecord:
    """Return a choice as a decision made now, with all that is needed to replay it.

    Args:
        office: Knows the time and the catalogue.
        dispatch: What is decided about.
        choice: The decision.
        method: Who or what chose.
        by: The desk or unit whose word it was.
    """
    assigned = choice.lead is not None
    return DecisionRecord(
        decision_id=DecisionId(office.new_id()),
        ticket_id=dispatch.ticket_id,
        epoch=dispatch.epoch + 1 if assigned else dispatch.epoch,
        method=method if assigned else None,
        choice=choice,
        threshold=office.chooser.policy.threshold,
        catalogue_version=office.chooser.catalogue.version,
        decide_time=office.clock.now(),
        decided_by=by,
    )


def of_lead(uow: UnitOfWork, command: UnitCommand) -> Dispatch:
    """Return the dispatch that a unit acts on; whether it leads is the dispatch's business.

    Raises:
        DispatchNotFound: The unit has no part in it.
    """
    dispatch = uow.dispatches.of_unit(command.ticket_id, command.unit)
    if dispatch is None or dispatch.state is State.UNSUBMITTED:
        raise DispatchNotFound(command.ticket_id)
    return dispatch


def of_desk(uow: UnitOfWork, ticket_id: TicketId) -> Dispatch:
    """Return the dispatch that the desk acts on.

    Raises:
        DispatchNotFound: There is none.
    """
    dispatch = uow.dispatches.get(ticket_id)
    if dispatch is None or dispatch.state is State.UNSUBMITTED:
        raise DispatchNotFound(ticket_id)
    return dispatch


def today(office: Office) -> date:
    """Return today's date in Chongqing."""
    return civil_day(office.clock.now())


def unit_in_force(office: Office, code: str, field: str) -> UnitCode:
    """Return the unit of a code that the desk named.

    Raises:
        UnknownUnit: No unit of that code is in force; `field` is where it was named.
    """
    unit = office.chooser.catalogue.unit(code, today(office))
    if unit is None:
        raise UnknownUnit(code, field)
    return unit.code


def guesses(office: Office, uow: UnitOfWork, dispatch: Dispatch) -> tuple[Candidate, ...]:
    """Return the units that the classifier's answer speaks for and that did not have the ticket yet, best first."""
    if dispatch.classification is None or dispatch.ticket is None:
        return ()
    choice = office.chooser.by_classification(dispatch.ticket, dispatch.classification, uow.experience())
    return tuple(candidate for candidate in choice.candidates if candidate.unit not in dispatch.leads)
