"""The SLA service said something of the resolution's due time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.dispatcher.application.early import submitted_or_kept

if TYPE_CHECKING:
    from services.dispatcher.application.ports import Office, UnitOfWork
    from services.dispatcher.domain.commands import NoteDeadline


def note_deadline(office: Office, uow: UnitOfWork, command: NoteDeadline) -> None:
    """Store the due time and send it to the lead unit. A deadline of a cycle whose reopening has not arrived yet waits for it."""
    dispatch = submitted_or_kept(uow, command)
    if dispatch is None:
        return
    if dispatch.awaits_reopening(command.cycle):
        dispatch.hear_early(command)
    else:
        dispatch.note_deadline(command.change, command.due_time, now=office.clock.now(), cycle=command.cycle)
