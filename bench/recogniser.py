"""`python -m bench.recogniser MODEL PASSES`: measure recognition in a process of its own, on one core; prints JSON.

Nothing but what serves a model is loaded here, so that its memory can be told.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.processes import memory
from bench.stats import Latency

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from services.classifier.adapters.linear_model import LinearParameters

_CORPUS = Path(__file__).resolve().parents[1] / "services" / "classifier" / "training" / "corpus"
_EVERY = 3
"""Of the corpus every third text is measured: all voices, from a few words to letters."""
_AT_ONCE = 200
_CLASSES = 5


def texts() -> list[str]:
    """Return the texts that are measured."""
    lines = (line for path in sorted(_CORPUS.glob("*.jsonl")) for line in path.read_text("utf-8").splitlines())
    return [json.loads(line)["text"] for line in lines][::_EVERY]


class BareModel:
    """The floor: n-grams looked up in a dict, one sparse dot product, the best class; no spans, values, districts or calibration."""

    def __init__(self, parameters: LinearParameters) -> None:
        from services.classifier.adapters.ngrams import spelled  # noqa: PLC0415 - memory before it is the floor's

        self._rows = {spelled(int(key)): row for row, key in enumerate(parameters.keys)}
        self._parameters = parameters
        self._lengths = range(1, int(parameters.longest[0]) + 1)

    def best(self, text: str) -> int:
        """Return the column of the best class."""
        grams = (text[start : start + length] for length in self._lengths for start in range(len(text) - length + 1))
        counts = Counter(row for gram in grams if (row := self._rows.get(gram)) is not None)
        rows = np.fromiter(counts, np.int64, len(counts))
        values = np.fromiter(counts.values(), np.float32, len(counts)) * self._parameters.idf[rows]
        return int((values @ self._parameters.weights[rows] + self._parameters.bias).argmax())


def main(model: Path, passes: int) -> None:
    """Measure and print."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    resident_floor = memory(os.getpid()).rss
    from services.classifier.adapters.model_store import ModelFolder  # noqa: PLC0415 - the memory above is without it
    from services.classifier.application.answering import answers  # noqa: PLC0415

    recogniser = ModelFolder(model).load()
    measured = texts()
    single = Latency.of(_times(lambda text: answers(recogniser, [text], _CLASSES), measured, passes))
    began = time.perf_counter()
    for _ in range(passes):
        for begin in range(0, len(measured), _AT_ONCE):
            answers(recogniser, measured[begin : begin + _AT_ONCE], _CLASSES)
    batch = passes * len(measured) / (time.perf_counter() - began)
    resident = memory(os.getpid()).rss
    floor = list(_times(BareModel(recogniser.parameters).best, measured, passes))
    json.dump(
        {
            "texts": len(measured),
            "single": asdict(single),
            "single_floor": asdict(Latency.of(floor)),
            "batch_per_second": batch,
            "batch_floor_per_second": len(floor) / sum(floor),
            "resident_mb": resident,
            "resident_floor_mb": resident_floor,
        },
        sys.stdout,
    )


def _times(answer: Callable[[str], object], measured: list[str], passes: int) -> Iterator[float]:
    """Yield how long each text takes; the first ones, which fill tables and caches, do not count."""
    for text in measured[:_AT_ONCE]:
        answer(text)
    for text in measured * passes:
        began = time.perf_counter()
        answer(text)
        yield time.perf_counter() - began


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
