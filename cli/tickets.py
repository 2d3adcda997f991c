"""`paidan submit` and `paidan ticket …`: what a portal does."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Annotated

import grpc
import typer

from chassis.caller import Role
from cli import render
from cli.connection import LOCAL_PORTAL, Connection, Metadata, Stubs, connect, load
from cli.output import CommandError, JsonFlag, console, error_console, errors_shown, print_json
from paidan.intake.v1 import intake_service_pb2 as pb
from paidan.intake.v1 import ticket_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer(no_args_is_help=True, help="看工单、补充、撤回、评价、重办。 Tickets as a portal sees them.")

Reference = Annotated[str, typer.Argument(help="Id or number of the ticket.", metavar="TICKET")]
Portal = Annotated[str, typer.Option(help="Portal to act as.")]

_RECONNECT_SECONDS = 1
_ENDED = frozenset({ticket_pb2.TICKET_STATE_CLOSED, ticket_pb2.TICKET_STATE_WITHDRAWN, ticket_pb2.TICKET_STATE_DECLINED})


def submit(
    text: Annotated[str, typer.Argument(help="The request in the enterprise's own words.")],
    *,
    uscc: Annotated[str, typer.Option(help="Unified social credit code, 18 characters.")],
    name: Annotated[str, typer.Option(help="Name of the enterprise.")] = "本地测试企业",
    district: Annotated[str, typer.Option(help="District code, e.g. 500107; leave out if none.")] = "",
    channel: Annotated[str, typer.Option(help="qr_code, app, web, hotline or specialist.")] = "web",
    contact: Annotated[str, typer.Option(help="Name of the person to call.")] = "联系人",
    phone: Annotated[str, typer.Option(help="Phone of the person to call.")] = "023-00000000",
    confidential: Annotated[bool, typer.Option("--confidential", help="Show the enterprise to the lead unit only.")] = False,
    request_id: Annotated[str, typer.Option(help="Idempotency key; a new one if left out. Give the same to repeat.")] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Follow the ticket until it ends or Ctrl-C.")] = False,
    portal: Portal = LOCAL_PORTAL,
    as_json: JsonFlag = False,
) -> None:
    """提交诉求。 Submit a request; it is safe once this returns."""
    with errors_shown():
        connection = load()
        metadata = connection.token(Role.PORTAL, portal)
        request = pb.SubmitTicketRequest(
            request_id=request_id or str(uuid.uuid4()),
            enterprise=ticket_pb2.Enterprise(uscc=uscc, name=name),
            contact=ticket_pb2.Contact(name=contact, phone=phone),
            text=text,
            channel=_channel(channel),
            district_code=district,
            confidential=confidential,
        )
        with connect(connection) as stubs:
            response = stubs.intake.SubmitTicket(request, metadata=metadata)
            if as_json:
                print_json(response)
            else:
                console.print(f"[bold green]已受理[/] {response.ticket.number}" + ("  (重复提交 repeated)" if response.duplicate else ""))
                render.show_ticket(response.ticket)
            if watch:
                _follow(stubs, metadata, response.ticket.ticket_id, 0, as_json=as_json)


@app.command("show")
def show(ticket: Reference, *, portal: Portal = LOCAL_PORTAL, as_json: JsonFlag = False) -> None:
    """查看工单。 Show one ticket."""
    _answer(portal, lambda stubs, md: stubs.intake.GetTicket(pb.GetTicketRequest(ticket_id=ticket), metadata=md).ticket, as_json)


@app.command("list")
def list_(
    *,
    uscc: Annotated[str, typer.Option(help="Only of this enterprise.")] = "",
    state: Annotated[list[str] | None, typer.Option(help="Only in this state, e.g. dispatched; may be repeated.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most tickets.")] = 50,
    portal: Portal = LOCAL_PORTAL,
    as_json: JsonFlag = False,
) -> None:
    """列出工单。 List tickets, newest first."""
    with errors_shown():
        states = [_state(word) for word in state or []]
        connection = load()
        metadata = connection.token(Role.PORTAL, portal)
        tickets: list[ticket_pb2.Ticket] = []
        token = ""
        with connect(connection) as stubs:
            while len(tickets) < limit:
                request = pb.ListTicketsRequest(uscc=uscc, states=states, page_size=min(200, limit - len(tickets)), page_token=token)
                response = stubs.intake.ListTickets(request, metadata=metadata)
                tickets.extend(response.tickets)
                token = response.next_page_token
                if not token:
                    break
        if as_json:
            for ticket in tickets:
                print_json(ticket)
        else:
            render.show_tickets(tickets)


@app.command("watch")
def watch(
    ticket: Reference,
    *,
    after: Annotated[int, typer.Option(min=0, help="Only changes after this version.")] = 0,
    portal: Portal = LOCAL_PORTAL,
    as_json: JsonFlag = False,
) -> None:
    """跟踪工单。 Follow a ticket until it ends or Ctrl-C; goes on where it was after a broken connection."""
    with errors_shown():
        connection = load()
        with connect(connection) as stubs:
            _follow(stubs, connection.token(Role.PORTAL, portal), ticket, after, as_json=as_json)


@app.command("supplement")
def supplement(
    ticket: Reference,
    text: Annotated[str, typer.Argument(help="What is added.")],
    *,
    request_id: Annotated[str, typer.Option(help="Idempotency key; a new one if left out.")] = "",
    portal: Portal = LOCAL_PORTAL,
    as_json: JsonFlag = False,
) -> None:
    """补充材料。 Add the material that the unit asked for."""
    request = pb.SupplementTicketRequest(ticket_id=ticket, request_id=request_id or str(uuid.uuid4()), text=text)
    _answer(portal, lambda stubs, md: stubs.intake.SupplementTicket(request, metadata=md).ticket, as_json)


@app.command("withdraw")
def withdraw(
    ticket: Reference,
    *,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    portal: Portal = LOCAL_PORTAL,
    as_json: JsonFlag = False,
) -> None:
    """撤回工单。 Take the request back."""
    request = pb.WithdrawTicketRequest(ticket_id=ticket, reason=reason)
    _answer(portal, lambda stubs, md: stubs.intake.WithdrawTicket(request, metadata=md).ticket, as_json)


@app.command("rate")
def rate(
    ticket: Reference,
    score: Annotated[int, typer.Argument(min=1, max=5, help="1 (worst) to 5 (best).")],
    *,
    solved: Annotated[str, typer.Option(help="yes, no or no_view.")] = "yes",
    comment: Annotated[str, typer.Option(help="Free words.")] = "",
    portal: Portal = LOCAL_PORTAL,
    as_json: JsonFlag = False,
) -> None:
    """评价办理结果。 Rate the result."""
    with errors_shown():
        name = f"SOLVED_{solved.upper()}"
        if name not in ticket_pb2.Solved.keys()[1:]:
            raise CommandError(f"--solved {solved} is not known", hint="yes, no or no_view")
    request = pb.RateTicketRequest(ticket_id=ticket, solved=ticket_pb2.Solved.Value(name), score=score, comment=comment)
    _answer(portal, lambda stubs, md: stubs.intake.RateTicket(request, metadata=md).ticket, as_json)


@app.command("reopen")
def reopen(
    ticket: Reference,
    reason: Annotated[str, typer.Argument(help="What is still wrong.")],
    *,
    portal: Portal = LOCAL_PORTAL,
    as_json: JsonFlag = False,
) -> None:
    """重办。 Send a resolved ticket back to work."""
    request = pb.ReopenTicketRequest(ticket_id=ticket, reason=reason)
    _answer(portal, lambda stubs, md: stubs.intake.ReopenTicket(request, metadata=md).ticket, as_json)


def _answer(portal: str, call: Callable[[Stubs, Metadata], ticket_pb2.Ticket], as_json: bool) -> None:  # noqa: FBT001 - a flag of the command
    with errors_shown():
        connection: Connection = load()
        with connect(connection) as stubs:
            ticket = call(stubs, connection.token(Role.PORTAL, portal))
        if as_json:
            print_json(ticket)
        else:
            render.show_ticket(ticket)


def _follow(stubs: Stubs, metadata: Metadata, reference: str, after: int, *, as_json: bool) -> None:
    seen = after
    while True:
        stream = stubs.intake.WatchTicket(pb.WatchTicketRequest(ticket_id=reference, after_version=seen), metadata=metadata)
        try:
            for response in stream:
                seen = response.change.version
                if as_json:
                    print_json(response.change)
                else:
                    render.show_change(response.change)
        except grpc.RpcError as error:
            if error.code() not in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED} or not seen:
                raise
            error_console.print("[dim]· 连接中断，正在重连 connection lost, resuming[/]")
            time.sleep(_RECONNECT_SECONDS)
        except KeyboardInterrupt:
            stream.cancel()
            return
        else:
            return


def _channel(word: str) -> ticket_pb2.Channel.ValueType:
    name = f"CHANNEL_{word.upper()}"
    if name not in ticket_pb2.Channel.keys()[1:]:
        raise CommandError(f"--channel {word} is not known", hint="qr_code, app, web, hotline or specialist")
    return ticket_pb2.Channel.Value(name)


def _state(word: str) -> ticket_pb2.TicketState.ValueType:
    name = f"TICKET_STATE_{word.upper()}"
    if name not in ticket_pb2.TicketState.keys()[1:]:
        known = ", ".join(key.removeprefix("TICKET_STATE_").lower() for key in ticket_pb2.TicketState.keys()[1:])
        raise CommandError(f"--state {word} is not known", hint=known)
    return ticket_pb2.TicketState.Value(name)
