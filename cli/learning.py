"""`paidan model retrain`, `promote`, `rollback`, `versions`, `outcomes`, `shadow`: the model learns from what becomes of tickets."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from sqlalchemy.exc import SQLAlchemyError

from chassis.sql import build_engine
from cli.model import MODEL_FOLDER, CorpusOption, Labels, LabelsOption, ModelOption, files, model_errors_shown, progress
from cli.operations import database_url
from cli.output import CommandError, JsonFlag, console, error_console, errors_shown, print_json
from services.classifier.adapters import sql, tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Connection

    from services.classifier.adapters.model_archive import ModelArchive
    from services.classifier.training.outcomes import Outcome

ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it is kept in the history.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to those about the model."""
    for command in (retrain, promote, rollback, versions, outcomes, shadow):
        app.command(command.__name__)(command)


def retrain(
    *,
    data: CorpusOption = None,
    outcomes_file: Annotated[
        Path | None,
        typer.Option("--outcomes", exists=True, dir_okay=False, help="Outcomes from a .jsonl file. Default: those in the database."),
    ] = None,
    model: ModelOption = MODEL_FOLDER,
    labels: LabelsOption = Labels.CATALOGUE,
    later: Annotated[
        float, typer.Option(min=0.05, max=0.9, help="Share of the outcomes, the last ones, by which models are judged.")
    ] = 0.3,
    least: Annotated[int, typer.Option(min=2, help="Least number of outcomes to learn from.")] = 200,
    silent: Annotated[float, typer.Option(min=0, max=0.9, help="Share of misroutes that units are assumed to accept in silence.")] = 0.3,
    then_promote: Annotated[bool, typer.Option("--promote", help="Serve the challenger if nothing speaks against it.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """从办理结果中学习。 Build a challenger from the corpus and from outcomes, and compare it with the model that is served."""
    from services.classifier.adapters.model_archive import ModelArchive  # noqa: PLC0415 - NumPy and scikit-learn take a second to import
    from services.classifier.training import catalogue  # noqa: PLC0415
    from services.classifier.training.retrain import NothingToLearnError, RetrainRequest  # noqa: PLC0415
    from services.classifier.training.retrain import retrain as build  # noqa: PLC0415
    from services.classifier.training.run import TrainingRequest  # noqa: PLC0415

    training = TrainingRequest(data=files(data), out=model, catalogue=catalogue.DEFAULT if labels is Labels.CATALOGUE else None)
    with errors_shown(), model_errors_shown():
        request = RetrainRequest(training=training, outcomes=_read(outcomes_file), later=later, least=least, silent=silent)
        started = time.monotonic()
        try:
            with progress(total=18) as step:
                compared = build(request, now=datetime.now(UTC), step=step)
        except NothingToLearnError as error:
            raise CommandError(str(error), hint="`paidan model outcomes` shows what there is; see also --least and --later") from error
        promoted = then_promote and compared["promotable"]
        if promoted:
            ModelArchive(model).promote(compared["challenger"], now=datetime.now(UTC), reason="retrain --promote")
        report = ModelArchive(model).version(compared["challenger"]).path / "comparison.md"
    if as_json:
        print_json({**compared, "seconds": round(time.monotonic() - started, 1), "promoted": promoted})
        return
    console.print(f"[bold]{compared['challenger']}[/] against {compared['champion']}: {time.monotonic() - started:.0f} s")
    _print_comparison(compared)
    console.print(f"report: {report}", soft_wrap=True)
    if promoted:
        console.print(f"{compared['challenger']} is served now")
    elif compared["promotable"]:
        console.print(f"paidan model promote {compared['challenger']}", markup=False)


def promote(
    version: Annotated[str, typer.Argument(help="Version from `paidan model versions`.")],
    *,
    model: ModelOption = MODEL_FOLDER,
    force: Annotated[
        bool, typer.Option("--force", help="Even if the comparison speaks against it, or there is none; needs a --reason.")
    ] = False,
    reason: ReasonOption = "",
) -> None:
    """启用一个版本。 Serve a version; refused if a class got worse. A running classifier takes it up within 10 s."""
    with errors_shown(), model_errors_shown(), _archive(model) as archive:
        if force and not reason:
            raise CommandError("--force needs a --reason")
        problems = [] if force else _problems(archive, version)
        if problems:
            raise CommandError(f"{version} is not promoted: {'; '.join(problems)}", hint="--force --reason … promotes it all the same")
        before = archive.promote(version, now=datetime.now(UTC), reason=f"forced: {reason}" if force else reason)
    console.print(f"{version} is served in {model}; before {before}", soft_wrap=True)


def rollback(*, model: ModelOption = MODEL_FOLDER, reason: ReasonOption = "") -> None:
    """退回上一个版本。 Serve the version that was served before the present one."""
    with errors_shown(), model_errors_shown(), _archive(model) as archive:
        present, earlier = archive.rollback(now=datetime.now(UTC), reason=reason)
    console.print(f"{earlier} is served in {model} again; before {present}", soft_wrap=True)


def versions(*, model: ModelOption = MODEL_FOLDER, as_json: JsonFlag = False) -> None:
    """列出版本。 List the versions of the model, and which may be promoted."""
    with errors_shown(), model_errors_shown(), _archive(model) as archive:
        served = archive.served.card()
        known = {card["version"]: card for card in (served, *archive.known())}
        rows = [_version_row(card, served["version"], archive) for card in sorted(known.values(), key=lambda card: card["train_time"])]
    if as_json:
        for row in rows:
            print_json(row)
        return
    table = Table(box=None, header_style="bold")
    for header in ("version", "trained", "texts", "outcomes", "right", "state"):
        table.add_column(header, no_wrap=True)
    for row in rows:
        figures = (f"{row['train_time']:.16}", f"{row['training_texts']:,}", str(row["outcomes"]), f"{row['accuracy']:.3f}")
        table.add_row(row["version"], *figures, row["state"])
    console.print(table)
    for row in rows:
        for problem in row["objections"]:
            console.print(f"[yellow]against {row['version']}[/]: {problem}", soft_wrap=True)


def outcomes(*, as_json: JsonFlag = False) -> None:
    """列出可学习的结果。 Count the outcomes that name a class; with --json print them, as `retrain --outcomes` reads them."""
    with errors_shown():
        found = _read(None)
    if as_json:
        for each in found:
            print_json(each.record())
        return
    table = Table(box=None, header_style="bold")
    for header in ("rests on", "outcomes", "as the model had said", "mean weight"):
        table.add_column(header)
    for source in dict.fromkeys(each.source for each in found):
        some = [each for each in found if each.source == source]
        agreed = sum(each.label == each.predicted for each in some)
        table.add_row(source, str(len(some)), str(agreed), f"{sum(each.weight for each in some) / len(some):.2f}")
    console.print(table if found else "[dim]没有结果 no outcomes yet[/]")


def shadow(*, as_json: JsonFlag = False) -> None:
    """影子模型对比。 How often a model in the shadow disagreed with the one that answers, and who was right where the outcome is known."""
    with errors_shown(), _classifier_database() as conn:
        rows = [dict(row) for row in sql.judged_disagreements(conn)]
    if as_json:
        for row in rows:
            print_json({**row, "last_time": row["last_time"].isoformat()})
        return
    table = Table(box=None, header_style="bold")
    headers = ("champion_version", "challenger_version", "disagreements", "known", "champion_right", "challenger_right")
    for header in headers:
        table.add_column(header.replace("_", " "))
    for row in rows:
        table.add_row(*(str(row[header]) for header in headers))
    console.print(table if rows else "[dim]没有分歧 no disagreements recorded[/]")


@contextmanager
def _archive(model: Path) -> Iterator[ModelArchive]:
    from services.classifier.adapters.model_archive import ModelArchive, UnknownVersionError  # noqa: PLC0415

    try:
        yield ModelArchive(model)
    except UnknownVersionError as error:
        raise CommandError(f"there is no such version, or none before it: {error}", hint="paidan model versions") from error


@contextmanager
def _classifier_database() -> Iterator[Connection]:
    engine = build_engine(database_url(), service=tables.SCHEMA, pool_size=1)
    try:
        with engine.connect() as conn:
            yield conn
    except SQLAlchemyError as error:
        raise CommandError("the database does not answer, or its schemas are missing", hint="paidan db migrate") from error
    finally:
        engine.dispose()


def _read(file: Path | None) -> list[Outcome]:
    from services.classifier.training.outcomes import from_record, read_outcomes  # noqa: PLC0415

    if file is not None:
        return read_outcomes(file)
    error_console.print("read outcomes from the database")
    with _classifier_database() as conn:
        return [from_record(row) for row in sql.labelled(conn)]


def _problems(archive: ModelArchive, version: str) -> list[str]:
    compared = archive.comparison(version)
    if compared is None:
        return ["it was not compared with what is served"]
    served = archive.served.card()["version"]
    if compared["champion"] != served:
        return [f"it was compared with {compared['champion']}, served is {served}"]
    return list(compared["objections"])


def _version_row(card: Mapping[str, Any], served: str, archive: ModelArchive) -> dict[str, Any]:
    problems = _problems(archive, card["version"])
    is_served = card["version"] == served
    return {
        "version": card["version"],
        "train_time": card["train_time"],
        "training_texts": card["training_texts"],
        "outcomes": card.get("learnt", {}).get("outcomes", 0),
        "accuracy": card["cross_validated_accuracy"],
        "state": "served" if is_served else "objected to" if problems else "may be promoted",
        "objections": [] if is_served else problems,
    }


def _print_comparison(compared: Mapping[str, Any]) -> None:
    learnt, on_later, on_corpus = compared["learnt"], compared["held_out"], compared["corpus"]
    table = Table("learnt from", "outcomes", "mean weight", "as believed")
    for source, row in learnt["by_source"].items():
        table.add_row(source, str(row["outcomes"]), f"{row['weight']:.2f}", f"{row['believed']:.2f}")
    console.print(table)
    table = Table("right first answers", "champion", "challenger")
    table.add_row(f"{on_later['texts']:,} later outcomes", f"{on_later['champion']:.3f}", f"{on_later['challenger']:.3f}")
    for name in ("top1_strict", "macro_f1_strict"):
        table.add_row(
            f"corpus across writers, {name.replace('_', ' ')}", f"{on_corpus['champion'][name]:.3f}", f"{on_corpus['challenger'][name]:.3f}"
        )
    console.print(table)
    console.print(f"of the later outcomes {on_later['won']} won, {on_later['lost']} lost, {on_later['silent']} taken for silent misroutes")
    for reason in compared["objections"]:
        console.print(f"[yellow]against it[/]: {reason}")
