"""`paidan model …`: train the classifier's model, judge it, use it on texts."""

from __future__ import annotations

import enum
import json
import sys
import time
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cli.output import CommandError, JsonFlag, console, error_console, errors_shown
from services.classifier.domain.errors import ModelDamagedError, NoModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from services.classifier.domain.classification import Classification

app = typer.Typer(no_args_is_help=True, help="模型：训练、评测、预测。 The classifier's model.")

# scikit-learn takes a second to import, which only the commands that need it shall pay: imports below stand inside functions.

_ROOT = Path(__file__).resolve().parents[1]
_CORPUS = _ROOT / "services" / "classifier" / "training" / "corpus"
MODEL_FOLDER = Path("build/model")
_TEXTS_AT_ONCE = 256

_DATA_HELP = "Texts: .jsonl, .tsv or .csv, also .gz; may be repeated."

DataOption = Annotated[list[Path], typer.Option("--data", exists=True, dir_okay=False, help=_DATA_HELP)]
CorpusOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--data",
        exists=True,
        dir_okay=False,
        help=f"{_DATA_HELP} Default: the corpus of the repository.",
    ),
]
ModelOption = Annotated[Path, typer.Option("--model", help="Model folder.")]


class Labels(enum.StrEnum):
    """Where the classes come from."""

    CATALOGUE = "catalogue"
    DATA = "data"


LabelsOption = Annotated[Labels, typer.Option(help="Classes: those of the catalogue, or those in the texts, for measuring on other data.")]


@app.command("train")
def train(
    *,
    data: CorpusOption = None,
    out: Annotated[Path, typer.Option(help="Model folder.")] = MODEL_FOLDER,
    labels: LabelsOption = Labels.CATALOGUE,
    precision: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="Share of right answers aimed at where the model does not abstain.")
    ] = 0.95,
    seed: Annotated[int, typer.Option(help="Of all that is random.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Train even if the folder holds this very model.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """训练模型。 Train a model and judge it across writers; does nothing if the folder holds the very model that would come out."""
    from services.classifier.training import run  # noqa: PLC0415

    request = _request(data, out, labels, precision, seed)
    with errors_shown(), model_errors_shown():
        if not force and run.is_up_to_date(request):
            error_console.print(f"{out} is up to date", soft_wrap=True)
            return
        if not force and run.has_learnt(out):
            error_console.print(
                f"{out} holds a model that learnt from outcomes, and stays; `paidan model retrain` builds the next, --force forgets them",
                soft_wrap=True,
            )
            return
        started = time.monotonic()
        with progress(total=23) as step:
            card = run.train(request, now=datetime.now(UTC), step=step)
    figures = card["evaluation"]["across_writers"]
    if as_json:
        _write_json({"version": card["version"], "seconds": round(time.monotonic() - started, 1), **_headline(figures)})
        return
    console.print(f"[bold]{card['version']}[/] in {out}: {card['training_texts']:,} texts, {time.monotonic() - started:.0f} s")
    console.print(_comparison({"across writers": figures, "within writers": card["evaluation"]["within_writers"]}))
    console.print(f"card: {out / 'card.md'}")


@app.command("evaluate")
def evaluate(
    *,
    data: CorpusOption = None,
    model: ModelOption = MODEL_FOLDER,
    across_writers: Annotated[
        bool,
        typer.Option("--across-writers", help="Instead of the model in the folder judge models that never saw the writer of the text."),
    ] = False,
    labels: LabelsOption = Labels.CATALOGUE,
    as_json: JsonFlag = False,
) -> None:
    """评测模型。 Judge a model on texts whose class is known: fields `text`, `label`, optionally `alt` (also right) and `style`."""
    from services.classifier.training import run  # noqa: PLC0415

    with errors_shown(), model_errors_shown():
        if across_writers:
            with progress(total=16) as step:
                figures = run.evaluate_across_writers(_request(data, model, labels, 0.95, 0), step)
        else:
            figures = run.evaluate_model(model, files(data))
    if as_json:
        _write_json(figures)
    else:
        _print_figures(figures)


@app.command("predict")
def predict(*, data: DataOption, model: ModelOption = MODEL_FOLDER, as_json: JsonFlag = False) -> None:
    """预测。 Classify texts, in their order: one line each."""
    from services.classifier.adapters.model_store import ModelFolder  # noqa: PLC0415
    from services.classifier.application.answering import answers  # noqa: PLC0415
    from services.classifier.training.examples import read_examples  # noqa: PLC0415

    with errors_shown(), model_errors_shown():
        recogniser = ModelFolder(model).load()
        examples = read_examples(data)
        _warn_of_repeated_ids([example.id for example in examples])
        for begin in range(0, len(examples), _TEXTS_AT_ONCE):
            part = examples[begin : begin + _TEXTS_AT_ONCE]
            for example, answer in zip(part, answers(recogniser, [each.text for each in part], len(recogniser.classes)), strict=True):
                if as_json:
                    _write_json(answer_json(example.id, answer))
                else:
                    console.print(_line(example.text, answer), markup=False, soft_wrap=True)


def _warn_of_repeated_ids(ids: Sequence[str]) -> None:
    repeated = [text_id for text_id, times in Counter(ids).items() if times > 1]
    if repeated:
        some = ", ".join(map(repr, repeated[:3]))
        error_console.print(f"{len(repeated)} ids come more than once ({some} …): go by the order of the lines", markup=False)


def answer_json(text_id: str, answer: Classification) -> dict[str, Any]:
    """Return an answer as `paidan model predict --json` prints it."""
    return {
        "id": text_id,
        "classes": [{"code": each.code, "probability": round(each.probability, 6)} for each in answer.classes],
        "abstained": answer.abstained,
        "reason": None if answer.abstain_reason is None else answer.abstain_reason.value,
        "district": answer.district,
        "issues": list(answer.issues),
        "evidence": [{"start": span.start, "end": span.end} for span in answer.evidence],
        "slots": [{"key": slot.key, "value": slot.value, "start": slot.start, "end": slot.end} for slot in answer.slots],
        "flags": [{"kind": flag.kind.value, "start": flag.start, "end": flag.end} for flag in answer.flags],
        "model_version": answer.model_version,
    }


def _request(data: Sequence[Path] | None, out: Path, labels: Labels, precision: float, seed: int) -> Any:  # noqa: ANN401 - its module loads late
    from services.classifier.training import catalogue, run  # noqa: PLC0415

    return run.TrainingRequest(
        data=files(data),
        out=out,
        catalogue=catalogue.DEFAULT if labels is Labels.CATALOGUE else None,
        seed=seed,
        precision=precision,
    )


def files(data: Sequence[Path] | None) -> tuple[Path, ...]:
    """Return the files of texts that were named, or those of the repository's corpus."""
    return tuple(data) if data else tuple(sorted(_CORPUS.glob("*.jsonl")))


@contextmanager
def model_errors_shown() -> Iterator[None]:
    """Turn what is wrong with texts and models into errors of the command."""
    from services.classifier.training.examples import UnreadableDataError  # noqa: PLC0415
    from services.classifier.training.run import TooLittleDataError, UnknownLabelError, UnlabelledError  # noqa: PLC0415

    try:
        yield
    except NoModelError as error:
        raise CommandError("there is no model in the folder", hint="paidan model train") from error
    except ModelDamagedError as error:
        raise CommandError(str(error), hint="paidan model train --force") from error
    except UnknownLabelError as error:
        raise CommandError(str(error), hint="--labels data takes the classes from the texts") from error
    except (UnreadableDataError, UnlabelledError, TooLittleDataError) as error:
        raise CommandError(str(error)) from error


@contextmanager
def progress(total: int) -> Iterator[Callable[[str], None]]:
    """Show steps of long work on standard error."""
    columns = (TextColumn("{task.description:<28}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=error_console, transient=True) as shown:
        task = shown.add_task("", total=total)

        def step(words: str) -> None:
            if not error_console.is_terminal:
                error_console.print(words)
            shown.update(task, description=words, advance=1)

        yield step


def _headline(figures: Mapping[str, Any]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in figures.items() if isinstance(value, float)}


def _comparison(columns: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table("", *columns)
    for name in _headline(next(iter(columns.values()))):
        table.add_row(name.replace("_", " "), *(f"{figures[name]:.3f}" for figures in columns.values()))
    return table


def _print_figures(figures: Mapping[str, Any]) -> None:
    if figures.get("seen_in_training"):
        console.print("[yellow]this model was trained on these texts: the figures are not honest; see --across-writers[/]")
    console.print(_comparison({f"{figures['texts']:,} texts": figures}))
    for title, groups in (("style", figures["by_style"]), ("writer", figures["by_batch"])):
        if groups:
            table = Table(title, "texts", "right", "strictly", "answered")
            for name, f in groups.items():
                table.add_row(name, str(f["texts"]), f"{f['top1']:.3f}", f"{f['top1_strict']:.3f}", f"{f['coverage']:.3f}")
            console.print(table)
    curve = Table("answered", "right when answered", "from probability")
    for point in figures["risk_coverage"][::2]:
        curve.add_row(f"{point['coverage']:.2f}", f"{point['precision']:.3f}", f"{point['least_probability']:.2f}")
    console.print(curve)
    worst = Table("class", "taken for", "texts", "for example")
    for each in figures["confusions"][:10]:
        worst.add_row(each["true"], each["given"], str(each["texts"]), each["example"])
    console.print(worst)


def _line(text: str, answer: Classification) -> str:
    first = answer.classes[0]
    mark = f"? {answer.abstain_reason.value}" if answer.abstain_reason is not None else ""
    flags = "".join(f"! {flag.kind} " for flag in answer.flags)
    return f"{first.code:<24} {first.probability:5.2f} {mark:<14} {flags}{text[:60]!r}"


def _write_json(content: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(content, ensure_ascii=False) + "\n")
