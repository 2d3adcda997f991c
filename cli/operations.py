"""`paidan token …`, `paidan db …`, `paidan topics …`, `paidan enterprise …`: what an operator does."""

from __future__ import annotations

import csv
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer
from kafka.errors import KafkaError
from rich.table import Table
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from chassis.caller import Caller, Role
from chassis.identity import tokens
from chassis.migrations import MigrationFailed
from chassis.outbox import Outbox
from chassis.settings import KafkaSettings, ServiceSettings
from chassis.sql import build_engine
from cli.connection import connection_file, database_engine, load
from cli.output import CommandError, JsonFlag, console, errors_shown, print_json
from deploy.schemas import migrate_all
from deploy.topics import create_topics
from kernel.text import check_text
from services.intake.adapters import sql, tables
from services.intake.adapters.events import SOURCE
from services.intake.application.import_enterprises import import_enterprises
from services.intake.domain.fields import MAX_NAME
from services.intake.domain.ticket import Enterprise
from services.intake.domain.types import DistrictCode
from services.intake.domain.uscc import InvalidUscc, parse_uscc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

token_app = typer.Typer(no_args_is_help=True, help="令牌：发放、列出、吊销。 Tokens of callers.")
db_app = typer.Typer(no_args_is_help=True, help="数据库。 Database schemas.")
topics_app = typer.Typer(no_args_is_help=True, help="主题。 Kafka topics.")
enterprise_app = typer.Typer(no_args_is_help=True, help="企业登记库。 The registry of enterprises.")


@token_app.command("issue")
def issue(
    role: Annotated[Role, typer.Argument(help="What the caller is.")],
    subject: Annotated[str, typer.Argument(help="Which one: code of the portal or unit, name of the desk or operator.")],
    *,
    days: Annotated[int, typer.Option(min=0, help="Days until it expires; 0 means never.")] = 365,
    note: Annotated[str, typer.Option(help="For whom, what for.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """发放令牌（只显示一次）。 Issue a token; it is shown this once, only its hash is stored."""
    with errors_shown(), _database() as conn:
        expire = datetime.now(UTC) + timedelta(days=days) if days else None
        issued = tokens.issue(conn, Caller(role, subject), note=note, expire_time=expire)
    if as_json:
        print_json({"token_id": issued.token_id, "token": issued.token, "role": role.value, "subject": subject})
    else:
        console.print(
            f"{issued.token}\n[dim]id {issued.token_id} · {role.value}:{subject} · revoke: paidan token revoke {issued.token_id}[/]"
        )


@token_app.command("list")
def list_(*, as_json: JsonFlag = False) -> None:
    """列出令牌。 List tokens, without their secrets."""
    columns = tokens.caller_token.c
    with errors_shown(), _database() as conn:
        wanted = (
            columns.token_id,
            columns.role,
            columns.subject,
            columns.note,
            columns.create_time,
            columns.expire_time,
            columns.revoke_time,
        )
        rows = conn.execute(select(*wanted).order_by(columns.create_time)).mappings().all()
    if as_json:
        for row in rows:
            print_json({name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()})
        return
    table = Table(box=None, header_style="bold")
    for header in ("id", "role", "subject", "note", "created", "expires", "revoked"):
        table.add_column(header)
    for row in rows:
        table.add_row(*(f"{value:%Y-%m-%d}" if isinstance(value, datetime) else str(value or "–") for value in row.values()))
    console.print(table if rows else "[dim]没有令牌 no tokens[/]")


@token_app.command("revoke")
def revoke(token_id: Annotated[str, typer.Argument(help="Id from `token list`.")]) -> None:
    """吊销令牌。 Revoke a token; services believe it for 5 seconds more at most."""
    with errors_shown(), _database() as conn:
        if not tokens.revoke(conn, token_id, now=datetime.now(UTC)):
            raise CommandError(f"no token {token_id} that is not revoked yet", hint="see `paidan token list`")
    console.print(f"{token_id} 已吊销 revoked")


@db_app.command("migrate")
def migrate() -> None:
    """升级所有模式。 Bring the schemas of all services to their newest version; safe to repeat, and at once with others."""
    with errors_shown():
        try:
            schemas = migrate_all(database_url())
        except MigrationFailed as error:
            raise CommandError(str(error)) from error
        except SQLAlchemyError as error:
            raise CommandError("the database does not answer, or refuses", hint=type(error).__name__) from error
    console.print(f"schemas up to date: {', '.join(schemas)}")


@topics_app.command("apply")
def apply() -> None:
    """创建缺少的主题。 Create the topics that are missing; safe to repeat."""
    with errors_shown():
        settings = KafkaSettings(bootstrap=load().kafka_bootstrap) if connection_file().exists() else KafkaSettings()
        try:
            created = create_topics(settings.client_options())
        except KafkaError as error:
            raise CommandError(f"Kafka does not answer at {settings.bootstrap}, or refuses", hint=type(error).__name__) from error
    console.print(f"{created} topics created")


@enterprise_app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV with the columns uscc, name, district_code.")],
) -> None:
    """导入企业。 Fill the registry; a line that is wrong is named, and nothing is imported then."""
    with errors_shown(), file.open(encoding="utf-8-sig", newline="") as lines:
        count = import_registry(database_url(), csv.DictReader(lines), name=file.name)
    console.print(f"{count} 家企业 enterprises imported")


def import_registry(database_url: str, rows: csv.DictReader[str], *, name: str) -> int:
    """Fill the registry of enterprises, in one transaction; returns how many there were.

    Args:
        database_url: The database, as its owner.
        rows: With the columns uscc, name, district_code.
        name: What errors call the source.

    Raises:
        CommandError: A column is missing, a line is wrong, or the database does not answer.
    """
    enterprises = _enterprises(rows, name)
    engine = build_engine(database_url, service="intake", pool_size=1)
    try:
        with sql.IntakeUnitOfWork(engine, Outbox(tables.outbox, source=SOURCE)) as uow:
            count = import_enterprises(uow, enterprises)
            uow.commit()
    except SQLAlchemyError as error:
        raise CommandError("the database does not answer, or refuses", hint=type(error).__name__) from error
    finally:
        engine.dispose()
    return count


def _enterprises(rows: csv.DictReader[str], name: str) -> list[Enterprise]:
    missing = {"uscc", "name", "district_code"} - set(rows.fieldnames or ())
    if missing:
        raise CommandError(f"{name} lacks the columns {', '.join(sorted(missing))}")
    enterprises = []
    for row in rows:
        try:
            uscc = parse_uscc(row["uscc"])
        except InvalidUscc as error:
            raise CommandError(f"{name}, line {rows.line_num}: uscc {error}") from error
        enterprise, problems = check_text(row["name"] or "", most=MAX_NAME)
        if problems:
            raise CommandError(f"{name}, line {rows.line_num}: name {'; '.join(problems)}")
        enterprises.append(Enterprise(uscc=uscc, name=enterprise, district=DistrictCode(row["district_code"])))
    return enterprises


def database_url() -> str:
    """Return the database that runs here by the connection file, else that of `DATABASE_URL`."""
    if connection_file().exists():
        url = load().database_url
        if url is not None:
            return url
    return ServiceSettings().database_url.get_secret_value()


@contextmanager
def _database() -> Iterator[Connection]:
    engine = database_engine(database_url())
    try:
        with engine.begin() as conn:
            yield conn
    except SQLAlchemyError as error:
        raise CommandError("the database does not answer, or its schemas are missing", hint="paidan db migrate") from error
    finally:
        engine.dispose()
