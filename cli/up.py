"""`paidan up`: everything on this machine, until Ctrl-C."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.markup import escape
from rich.table import Table

from chassis.caller import Caller, Role
from cli.connection import LOCAL_PORTAL, VARIABLE, Connection, connection_file, issue_tokens
from cli.output import CommandError, console, errors_shown
from deploy.local.errors import InUseError, LocalPartError, PortsTakenError
from deploy.local.lock import DirectoryLock
from deploy.local.stack import LocalStack, open_stack
from deploy.local.supervisor import supervised

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

DATA_DIR = Path(".local/up")
PORTS = {
    "intake": (50051, 50151, 9464),
    "classifier": (50052, 50152, 9465),
    "dispatcher": (50053, 50153, 9466),
    "sla": (50054, 50154, 9467),
}
_LONG_SECONDS = 3600
_ELSEWHERE = f"{VARIABLE}=FILE paidan up --free-ports --data-dir DIRECTORY"
_CALLERS = [Caller(Role.PORTAL, LOCAL_PORTAL), Caller(Role.DESK, "municipal"), Caller(Role.OPERATOR, "local")]


def up(
    *,
    data_dir: Annotated[Path, typer.Option(help="Where data and logs are kept from run to run.")] = DATA_DIR,
    free_ports: Annotated[bool, typer.Option("--free-ports", help="Use whatever ports are free instead of 50051–50054.")] = False,
) -> None:
    """启动全部并保持运行。 Start Kafka, PostgreSQL and the four services, print where they are, and stay until Ctrl-C."""
    ports = None if free_ports else PORTS
    with (
        errors_shown(),
        stack_errors(),
        ended_by_signals(),
        _own_connection_file() as path,
        open_stack(data_dir, on_progress=progress, ports=ports) as stack,
    ):
        make_connection(stack).save(path)
        try:
            _print_addresses(stack, path)
            _stay(stack)
        finally:
            path.unlink(missing_ok=True)


def progress(line: str) -> None:
    """Print one thing that happened."""
    console.print(f"[dim]· {escape(line)}[/]")


def make_connection(stack: LocalStack, callers: list[Caller] = _CALLERS) -> Connection:
    """Return the connection of a stack, with tokens for callers."""
    issued = issue_tokens(stack.parts.database_url, callers)
    return Connection(
        **{name: service.address for name, service in stack.services.items()},
        kafka_bootstrap=stack.parts.kafka_bootstrap,
        database_url=stack.parts.database_url,
        tokens={f"{caller.role.value}:{caller.subject}": token for caller, token in zip(callers, issued, strict=True)},
    )


@contextmanager
def stack_errors() -> Iterator[None]:
    """Turn what keeps the stack from starting into a message."""
    try:
        yield
    except (InUseError, PortsTakenError) as error:
        raise CommandError(str(error), hint=f"start it elsewhere: {_ELSEWHERE}") from error
    except LocalPartError as error:
        raise CommandError(str(error)) from error


@contextmanager
def _own_connection_file() -> Iterator[Path]:
    """Reserve the connection file for this run.

    Raises:
        CommandError: Another run holds it.
    """
    path = connection_file().absolute()
    with ExitStack() as stack:
        try:
            stack.enter_context(DirectoryLock(path.parent, f".{path.name}.lock").held())
        except InUseError as error:
            message = f"another `paidan up` runs as process {error.holder}; it owns {path}"
            raise CommandError(message, hint=f"stop it, or start this one beside it: {_ELSEWHERE}") from error
        yield connection_file()


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM end a `with` block in order, as Ctrl-C does; either leaves quietly."""

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before: Any = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        console.print("[dim]· 已停止 stopped[/]")
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _stay(stack: LocalStack) -> None:
    """Wait for Ctrl-C; meanwhile restart processes that end.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    parts = [part for part in (stack.parts.kafka, stack.parts.postgres) if part is not None]
    with supervised([*parts, *stack.services.values()], progress):
        while True:
            time.sleep(_LONG_SECONDS)


def _print_addresses(stack: LocalStack, path: Path) -> None:
    table = Table(box=None, header_style="bold")
    for header in ("service", "gRPC", "health", "metrics"):
        table.add_column(header)
    for service in stack.services.values():
        table.add_row(service.name, service.address, service.health_address, f"http://{service.metrics_address}/metrics")
    console.print(table)
    console.print(f"Kafka {stack.parts.kafka_bootstrap}   PostgreSQL {stack.parts.database_url}")
    console.print(f"tokens and addresses: {path}   logs: {stack.log_dir}")
    console.print(
        'try: [bold]paidan submit "2000平方米厂房要改扩建，规划许可怎么报?" --uscc 91350100M000100Y43 --district 500107 --watch[/]'
    )
    console.print("[dim]Ctrl-C 停止 stops everything[/]")
