"""`paidan unit …`: what a department or a district's team does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from kafka import KafkaConsumer
from kafka.errors import KafkaError
from rich.markup import escape
from rich.panel import Panel

from chassis.caller import Role
from chassis.kafka_records import CONSUMER_OPTIONS
from chassis.message import Unreadable
from chassis.settings import KafkaSettings
from cli import render
from cli.connection import Metadata, Stubs, connect, load
from cli.output import CommandError, JsonFlag, console, error_console, errors_shown, print_json
from deploy.topics import unit_codes
from paidan.dispatcher.v1 import dispatch_pb2
from paidan.dispatcher.v1 import dispatcher_service_pb2 as pb
from paidan.intake.v1 import intake_service_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer(no_args_is_help=True, help="承办单位：收件、签收、退回、办结。 What a unit does.")

Unit = Annotated[str, typer.Argument(help="Code of the unit, e.g. ghzrzyj or 500107.", metavar="UNIT")]
TicketId = Annotated[str, typer.Argument(help="Id of the ticket.", metavar="TICKET")]
Epoch = Annotated[int | None, typer.Option(help="Epoch that the unit was given; the current one if left out.")]


@app.command("list")
def list_(unit: Unit, *, limit: Annotated[int, typer.Option(min=1, max=200)] = 50, as_json: JsonFlag = False) -> None:
    """列出本单位的派单。 List a unit's dispatches, newest first."""
    with errors_shown():
        connection = load()
        with connect(connection) as stubs:
            request = pb.ListDispatchesRequest(page_size=limit)
            response = stubs.dispatcher.ListDispatches(request, metadata=connection.token(Role.UNIT, unit))
        if as_json:
            for dispatch in response.dispatches:
                print_json(dispatch)
        else:
            render.show_dispatches(response.dispatches)


@app.command("watch")
def watch(
    unit: Unit,
    *,
    earlier: Annotated[bool, typer.Option("--earlier", help="Show first what is on the topic already.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """收件箱，实时。 A unit's inbox: its Kafka topic, live, until Ctrl-C. The unit's own system still gets everything."""
    with errors_shown():
        connection = load()
        if unit not in unit_codes():
            raise CommandError(f"no unit {unit} in the catalogue", hint="see catalogue/departments.csv and catalogue/districts.csv")
        topic = f"dispatch.{unit}.v1"
        options = KafkaSettings(bootstrap=connection.kafka_bootstrap).client_options()
        try:
            begin = "earliest" if earlier else "latest"
            consumer = KafkaConsumer(topic, **CONSUMER_OPTIONS, **options, auto_offset_reset=begin, enable_auto_commit=False)
        except KafkaError as error:
            raise CommandError(f"Kafka does not answer at {connection.kafka_bootstrap}", hint=type(error).__name__) from error
        try:
            if not as_json:
                console.print(f"[dim]{topic} … Ctrl-C ends[/]")
            for record in consumer:
                _show_record(record, as_json=as_json)
        except KeyboardInterrupt:
            return
        finally:
            consumer.close(autocommit=False)


@app.command("accept")
def accept(unit: Unit, ticket: TicketId, *, epoch: Epoch = None, as_json: JsonFlag = False) -> None:
    """签收。 Sign for a ticket."""
    _act(
        unit,
        ticket,
        epoch,
        lambda stubs, md, e: stubs.dispatcher.Accept(pb.AcceptRequest(ticket_id=ticket, epoch=e), metadata=md).dispatch,
        as_json=as_json,
    )


@app.command("return")
def return_(
    unit: Unit,
    ticket: TicketId,
    *,
    reason: Annotated[
        str, typer.Option(help="not_our_competence, wrong_district, duplicate, insufficient_information or not_a_city_matter.")
    ],
    suggest: Annotated[str, typer.Option(help="Code of the unit whose it is.")] = "",
    note: Annotated[str, typer.Option(help="Words for the next reader.")] = "",
    epoch: Epoch = None,
    as_json: JsonFlag = False,
) -> None:
    """退回。 Send a ticket back."""
    with errors_shown():
        name = f"RETURN_REASON_{reason.upper()}"
        if name not in dispatch_pb2.ReturnReason.keys()[1:]:
            known = ", ".join(key.removeprefix("RETURN_REASON_").lower() for key in dispatch_pb2.ReturnReason.keys()[1:])
            raise CommandError(f"--reason {reason} is not known", hint=known)
    value = dispatch_pb2.ReturnReason.Value(name)
    _act(
        unit,
        ticket,
        epoch,
        lambda stubs, md, e: (
            stubs.dispatcher.Return(
                pb.ReturnRequest(ticket_id=ticket, epoch=e, reason=value, suggested_unit=suggest, note=note),
                metadata=md,
            ).dispatch
        ),
        as_json=as_json,
    )


@app.command("supplement")
def supplement(
    unit: Unit,
    ticket: TicketId,
    question: Annotated[str, typer.Argument(help="What the enterprise must add.")],
    *,
    epoch: Epoch = None,
    as_json: JsonFlag = False,
) -> None:
    """要求补充材料。 Ask the enterprise for material; the clock pauses."""
    _act(
        unit,
        ticket,
        epoch,
        lambda stubs, md, e: (
            stubs.dispatcher.RequestSupplement(
                pb.RequestSupplementRequest(ticket_id=ticket, epoch=e, question=question),
                metadata=md,
            ).dispatch
        ),
        as_json=as_json,
    )


@app.command("extend")
def extend(
    unit: Unit,
    ticket: TicketId,
    workdays: Annotated[int, typer.Argument(min=1, max=15, help="Whole workdays.")],
    reason: Annotated[str, typer.Argument(help="Why.")],
    *,
    epoch: Epoch = None,
    as_json: JsonFlag = False,
) -> None:
    """申请延期。 Ask the desk for more time."""
    _act(
        unit,
        ticket,
        epoch,
        lambda stubs, md, e: (
            stubs.dispatcher.RequestExtension(
                pb.RequestExtensionRequest(ticket_id=ticket, epoch=e, workdays=workdays, reason=reason),
                metadata=md,
            ).dispatch
        ),
        as_json=as_json,
    )


@app.command("progress")
def progress(
    unit: Unit,
    ticket: TicketId,
    note: Annotated[str, typer.Argument(help="How far it is.")],
    *,
    epoch: Epoch = None,
    as_json: JsonFlag = False,
) -> None:
    """报告进展。 Tell the enterprise how far it is."""
    _act(
        unit,
        ticket,
        epoch,
        lambda stubs, md, e: (
            stubs.dispatcher.ReportProgress(
                pb.ReportProgressRequest(ticket_id=ticket, epoch=e, note=note),
                metadata=md,
            ).dispatch
        ),
        as_json=as_json,
    )


@app.command("resolve")
def resolve(
    unit: Unit,
    ticket: TicketId,
    resolution: Annotated[str, typer.Argument(help="What was done.")],
    *,
    epoch: Epoch = None,
    as_json: JsonFlag = False,
) -> None:
    """办结。 Say that it is solved."""
    _act(
        unit,
        ticket,
        epoch,
        lambda stubs, md, e: (
            stubs.dispatcher.Resolve(
                pb.ResolveRequest(ticket_id=ticket, epoch=e, resolution=resolution),
                metadata=md,
            ).dispatch
        ),
        as_json=as_json,
    )


@app.command("contact")
def contact(unit: Unit, ticket: TicketId, *, as_json: JsonFlag = False) -> None:
    """联系人（每次查看均留痕）。 Whom to call; each look is recorded."""
    with errors_shown():
        connection = load()
        with connect(connection) as stubs:
            request = intake_service_pb2.GetContactRequest(ticket_id=ticket)
            response = stubs.intake.GetContact(request, metadata=connection.token(Role.UNIT, unit))
        if as_json:
            print_json(response)
        else:
            console.print(f"{response.enterprise.name}  {response.contact.name}  {response.contact.phone}")


def _act(
    unit: str,
    ticket: str,
    epoch: int | None,
    call: Callable[[Stubs, Metadata, int], dispatch_pb2.Dispatch],
    *,
    as_json: bool,
) -> None:
    with errors_shown():
        connection = load()
        metadata = connection.token(Role.UNIT, unit)
        with connect(connection) as stubs:
            if epoch is None:
                current = stubs.dispatcher.GetDispatch(pb.GetDispatchRequest(ticket_id=ticket), metadata=metadata)
                epoch = current.dispatch.epoch
            dispatch = call(stubs, metadata, epoch)
        if as_json:
            print_json(dispatch)
        else:
            render.show_dispatches([dispatch])


def _show_record(record: Any, *, as_json: bool) -> None:  # noqa: ANN401 - the library's record
    """Show a message; print a warning for a message that cannot be read."""
    if isinstance(record.value, Unreadable):
        error_console.print(f"[yellow]{escape(f'{record.topic}: skipped, {record.value.detail}')}[/]")
        return
    try:
        message = json.loads(record.value or b"")
    except ValueError:
        error_console.print(f"[yellow]{escape(f'{record.topic}: skipped, the message at offset {record.offset} is not JSON')}[/]")
        return
    _show_message(message, as_json=as_json)


def _show_message(message: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        print_json(message)
        return
    kind = next((name for name in ("order", "cancelled", "supplement", "extension", "deadline", "refused") if name in message), "?")
    body = json.dumps(message.get(kind, {}), ensure_ascii=False, indent=2)
    title = f"{kind} · {message.get('number', '')} · {message.get('ticketId', '')} · epoch {message.get('epoch', 0)}"
    console.print(Panel(escape(body), title=escape(title), expand=False))
