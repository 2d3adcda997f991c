"""Scores of texts by models that were fitted without them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.model_selection import StratifiedKFold

from services.classifier.training.calibration import Calibration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from services.classifier.training.fit import Material

Folds = list[tuple[str, "NDArray[np.int64]"]]
"""Name of each fold, and its texts."""

_FOLDS = 4


def by_writer(batches: Sequence[str]) -> Folds:
    """Return a fold for each writer."""
    owners = np.array(batches)
    return [(str(batch), np.flatnonzero(owners == batch)) for batch in np.unique(owners)]


def mixed(targets: NDArray[np.int64], seed: int, folds: int = _FOLDS) -> Folds:
    """Return folds that each hold a like share of every class and of every writer's texts."""
    shuffled = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return [(str(number), held_out) for number, (_, held_out) in enumerate(shuffled.split(targets, targets), start=1)]


def out_of_fold(material: Material, folds: Folds, step: Callable[[str], None]) -> NDArray[np.float32]:
    """Return scores, one row a text, each by a model that was fitted without the text's fold."""
    scores = np.zeros((len(material.targets), len(material.labels)), np.float32)
    for name, held_out in folds:
        rest = np.setdiff1d(np.arange(len(material.targets)), held_out)
        scores[held_out] = material.fit(rest).scores(material.counts.rows(held_out))
        step(name)
    return scores


def cross_calibrated(scores: NDArray[np.float32], acceptable: NDArray[np.bool_], folds: Folds) -> NDArray[np.float64]:
    """Return probabilities, each fold's by a calibration that was learnt from the other folds."""
    probabilities = np.zeros(scores.shape, np.float64)
    for held_out, calibration in _calibrations(scores, acceptable, folds):
        probabilities[held_out] = calibration.apply(scores[held_out])
    return probabilities


def _calibrations(
    scores: NDArray[np.float32],
    acceptable: NDArray[np.bool_],
    folds: Folds,
) -> Iterator[tuple[NDArray[np.int64], Calibration]]:
    for _, held_out in folds:
        rest = np.setdiff1d(np.arange(len(scores)), held_out)
        yield held_out, Calibration.learn(scores[rest], acceptable[rest])
