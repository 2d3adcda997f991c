"""`paidan triage …`: what the desk does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from chassis.caller import Role
from cli import render
from cli.connection import Metadata, Stubs, connect, load
from cli.output import CommandError, JsonFlag, errors_shown, print_json
from paidan.dispatcher.v1 import dispatcher_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable

    from paidan.dispatcher.v1 import dispatch_pb2

app = typer.Typer(no_args_is_help=True, help="人工分拨：列出、决定、转办、延期。 What the desk does.")

TicketId = Annotated[str, typer.Argument(help="Id of the ticket.", metavar="TICKET")]
Desk = Annotated[str, typer.Option(help="Desk to act as.")]

_DESK = "municipal"


@app.command("list")
def list_(*, limit: Annotated[int, typer.Option(min=1, max=200)] = 50, desk: Desk = _DESK, as_json: JsonFlag = False) -> None:
    """列出待分拨的工单。 List what waits for the desk, longest wait first."""
    with errors_shown():
        connection = load()
        with connect(connection) as stubs:
            request = pb.ListTriageRequest(page_size=limit)
            response = stubs.dispatcher.ListTriage(request, metadata=connection.token(Role.DESK, desk))
        if as_json:
            for item in response.items:
                print_json(item)
        else:
            render.show_triage(response.items)


@app.command("decide")
def decide(
    ticket: TicketId,
    *,
    unit: Annotated[str, typer.Option(help="Code of the lead unit.")] = "",
    co_handler: Annotated[list[str] | None, typer.Option(help="Code of a unit that helps; may be repeated.")] = None,
    class_code: Annotated[str, typer.Option("--class", help="Class that the desk recognises; a training label.")] = "",
    note: Annotated[str, typer.Option(help="Words for the unit.")] = "",
    decline: Annotated[str, typer.Option(help="Decline instead, for this reason.")] = "",
    channel: Annotated[str, typer.Option(help="With --decline: where the enterprise should turn.")] = "",
    desk: Desk = _DESK,
    as_json: JsonFlag = False,
) -> None:
    """分拨给一个单位，或不予受理。 Give a ticket to a unit, or decline it."""
    with errors_shown():
        if bool(unit) == bool(decline):
            raise CommandError("exactly one of --unit and --decline is required")
    if unit:
        assign = pb.TriageAssignment(unit=unit, co_handler_units=co_handler or [], class_code=class_code, note=note)
        request = pb.DecideTriageRequest(ticket_id=ticket, assign=assign)
    else:
        request = pb.DecideTriageRequest(ticket_id=ticket, decline=pb.TriageDecline(reason=decline, right_channel=channel))
    _act(desk, lambda stubs, md: stubs.dispatcher.DecideTriage(request, metadata=md).dispatch, as_json=as_json)


@app.command("transfer")
def transfer(
    ticket: TicketId,
    unit: Annotated[str, typer.Argument(help="Code of the new lead unit.")],
    reason: Annotated[str, typer.Argument(help="Why.")],
    *,
    epoch: Annotated[int, typer.Option(min=1, help="Epoch that the desk saw.")],
    desk: Desk = _DESK,
    as_json: JsonFlag = False,
) -> None:
    """转办。 Move a dispatched ticket to another unit."""
    request = pb.TransferRequest(ticket_id=ticket, epoch=epoch, unit=unit, reason=reason)
    _act(desk, lambda stubs, md: stubs.dispatcher.Transfer(request, metadata=md).dispatch, as_json=as_json)


@app.command("extension")
def extension(
    ticket: TicketId,
    *,
    grant: Annotated[bool, typer.Option("--grant/--refuse", help="Grant or refuse.")],
    workdays: Annotated[int, typer.Option(min=0, max=15, help="Whole workdays; 0 means as many as were asked for.")] = 0,
    note: Annotated[str, typer.Option(help="Words for the unit.")] = "",
    desk: Desk = _DESK,
    as_json: JsonFlag = False,
) -> None:
    """决定延期申请。 Decide about an extension."""
    request = pb.DecideExtensionRequest(ticket_id=ticket, granted=grant, workdays=workdays, note=note)
    _act(desk, lambda stubs, md: stubs.dispatcher.DecideExtension(request, metadata=md).dispatch, as_json=as_json)


def _act(desk: str, call: Callable[[Stubs, Metadata], dispatch_pb2.Dispatch], *, as_json: bool) -> None:
    with errors_shown():
        connection = load()
        with connect(connection) as stubs:
            dispatch = call(stubs, connection.token(Role.DESK, desk))
        if as_json:
            print_json(dispatch)
        else:
            render.show_dispatches([dispatch])
