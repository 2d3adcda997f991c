"""From outcomes to a challenger, and how it compares with the champion.

outcomes ─► earlier ─► how far each is believed ─► corpus and outcomes ─► challenger ┐
        └─► later ────────────────────────────────────────────────────► both judged ─┴─► comparison.json, comparison.md
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from services.classifier.adapters.model_archive import COMPARISON, ModelArchive
from services.classifier.application.answering import answers
from services.classifier.training import comparison, run
from services.classifier.training.examples import read_examples
from services.classifier.training.fit import Settings
from services.classifier.training.outcomes import believed, split_by_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from services.classifier.adapters.linear_model import LinearRecogniser
    from services.classifier.adapters.model_store import ModelFolder
    from services.classifier.training.examples import Example
    from services.classifier.training.outcomes import Outcome
    from services.classifier.training.run import TrainingRequest


class NothingToLearnError(Exception):
    """The outcomes are too few, or all of one kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainRequest:
    """What to learn from, and how.

    Attributes:
        training: Corpus, catalogue and aims; `out` is the folder from which the champion is served.
        outcomes: What became of tickets.
        later: Share of the outcomes, the last ones, by which both models are judged.
        least: Least number of outcomes to learn from.
        silent: Share of misroutes that is assumed to be accepted in silence.
    """

    training: TrainingRequest
    outcomes: Sequence[Outcome]
    later: float = 0.3
    least: int = 200
    silent: float = 0.3


def retrain(request: RetrainRequest, *, now: datetime, step: Callable[[str], None]) -> dict[str, Any]:
    """Build a challenger beside the champion and compare the two; returns the comparison. What is served stays as it is.

    Raises:
        NothingToLearnError: The outcomes are too few, or all of one class.
        NoModelError: There is no champion.
        ModelDamagedError: The champion must not be served.
        UnreadableDataError: A file is not understood.
        UnknownLabelError: A text's class is not among those to be learnt.
    """
    step("read texts")
    archive = ModelArchive(request.training.out)
    champion = archive.served.load()
    codes = [each.code for each in champion.classes]
    usable = [each for each in request.outcomes if each.label in codes]
    earlier, later = split_by_time(usable, request.later)
    _check(earlier, later, request.least)

    settings = _settings_of(archive.served.card())
    examples = believed(earlier, _known(request.training, settings), codes, settings, step)
    about = _about(earlier, examples)
    training = replace(request.training, settings=settings, learnt=tuple(examples), about=about)
    version = f"{now:%Y%m%d}-{run.fingerprint(training)[:8]}"
    challenger = archive.version(version)
    run.train(replace(training, out=challenger.path), now=now, step=step)

    step("compare")
    compared = {
        **_compare(archive.served, challenger, later, request.silent),
        **about,
        "silent": request.silent,
        "passed_over": len(request.outcomes) - len(usable),
    }
    _write(challenger.path, compared)
    return compared


def _check(earlier: Sequence[Outcome], later: Sequence[Outcome], least: int) -> None:
    if not earlier and not later:
        raise NothingToLearnError("there is no outcome that names a class of the model")
    if len(earlier) + len(later) < least:
        raise NothingToLearnError(f"there are {len(earlier) + len(later)} outcomes, at least {least} are needed")
    if not earlier or not later:
        raise NothingToLearnError("the split leaves nothing to learn from, or nothing to judge by")
    if len(labels := Counter(each.label for each in earlier)) == 1:
        raise NothingToLearnError(f"all outcomes to learn from are of one class, {next(iter(labels))}")


def _settings_of(card: dict[str, Any]) -> Settings:
    """Return the settings that the champion was trained with, so that the outcomes alone make the difference."""
    known = {field.name for field in fields(Settings)}
    return Settings(**{name: value for name, value in card["settings"].items() if name in known})


def _known(training: TrainingRequest, settings: Settings) -> list[Example]:
    """Return the texts and phrases whose class was written down by hand."""
    examples = read_examples(training.data)
    return [*examples, *run.world(training, settings, examples).phrases]


def _about(earlier: Sequence[Outcome], examples: Sequence[Example]) -> dict[str, Any]:
    lines = "\n".join(json.dumps(each.record(), ensure_ascii=False, sort_keys=True) for each in earlier)
    weights: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for outcome, example in zip(earlier, examples, strict=True):
        weights[outcome.source].append((outcome.weight, example.weight))
    return {
        "learnt": {
            "outcomes": len(earlier),
            "until": earlier[-1].time.isoformat(),
            "sha256": hashlib.sha256(lines.encode()).hexdigest(),
            "by_source": {
                source: {
                    "outcomes": len(pairs),
                    "weight": sum(weight for weight, _ in pairs) / len(pairs),
                    "believed": sum(weight for _, weight in pairs) / len(pairs),
                }
                for source, pairs in sorted(weights.items())
            },
        },
    }


def _compare(served: ModelFolder, challenger: ModelFolder, later: Sequence[Outcome], silent: float) -> dict[str, Any]:
    before, after = served.card(), challenger.card()
    on_later = comparison.held_out(later, _first_classes(served.load(), later), _first_classes(challenger.load(), later), silent)
    on_corpus = comparison.corpus(before, after)
    reasons = comparison.objections(on_later, on_corpus)
    return {
        "champion": before["version"],
        "challenger": after["version"],
        "promotable": not reasons,
        "objections": reasons,
        "held_out": {"from": later[0].time.isoformat(), "until": later[-1].time.isoformat(), **on_later},
        "corpus": on_corpus,
    }


def _first_classes(recogniser: LinearRecogniser, outcomes: Sequence[Outcome]) -> list[str]:
    return [answer.classes[0].code for answer in answers(recogniser, [each.text for each in outcomes], 1)]


def _write(folder: Path, compared: dict[str, Any]) -> None:
    (folder / COMPARISON).write_text(json.dumps(compared, ensure_ascii=False, indent=1), encoding="utf-8")
    (folder / "comparison.md").write_text(comparison.markdown(compared), encoding="utf-8")
