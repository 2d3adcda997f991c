"""Recognition by itself: how long a text takes on one core, how many a second in batches, how much memory it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.stats import Latency

if TYPE_CHECKING:
    from bench.screen import Screen

MODEL = Path("build/model")
_PATIENCE_SECONDS = 600


@dataclass(frozen=True, slots=True)
class TextRate:
    """Texts a second in one way of answering them, beside the floor.

    Attributes:
        way: Which way, e.g. in batches on one core. Another way, such as a mix of which some get a second opinion, is another of these.
        per_second: Texts a second.
        floor_per_second: The same by the bare model on one core.
        target_per_second: What is to be reached.
    """

    way: str
    per_second: float
    floor_per_second: float
    target_per_second: float


@dataclass(frozen=True, slots=True)
class RecognitionFigures:
    """Recognition beside its floor.

    Attributes:
        texts: How many different ones were measured.
        single: One text at a time on one core.
        single_floor: The same by a dict of n-grams and one sparse dot product.
        rates: Texts a second, in each way of answering them.
        resident_mb: Resident memory of a process that serves the model and nothing else.
        resident_floor_mb: Of an interpreter that has imported NumPy.
    """

    texts: int
    single: Latency
    single_floor: Latency
    rates: tuple[TextRate, ...]
    resident_mb: float
    resident_floor_mb: float


def measure_recognition(screen: Screen, *, passes: int) -> RecognitionFigures:
    """Measure the model in `build/model` over the corpus's texts, so many times.

    Raises:
        RuntimeError: It could not be measured; its words say why.
    """
    command = [sys.executable, "-m", "bench.recogniser", str(MODEL), str(passes)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    with screen.step("recognising texts on one core"):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False)  # noqa: S603
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    figures = json.loads(done.stdout)
    batch = TextRate("in batches of 200, one core", figures["batch_per_second"], figures["batch_floor_per_second"], 1_500)
    return RecognitionFigures(
        texts=figures["texts"],
        single=Latency(**figures["single"]),
        single_floor=Latency(**figures["single_floor"]),
        rates=(batch,),
        resident_mb=figures["resident_mb"],
        resident_floor_mb=figures["resident_floor_mb"],
    )
