"""Probabilities that mean what they say, and the bar below which the model abstains.

Both are learnt from scores that models gave to texts of writers that they had not seen: the writers that the service will meet are new.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize

from services.classifier.adapters.linear_model import calibrated

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PULL = 1.0
"""How strongly shifts are pulled to 0: what one set of writers prefers is not what the next will."""
_HIGHEST_BAR = 0.95
_LOWEST_BAR = 0.2


@dataclass(frozen=True, slots=True)
class Calibration:
    """Softmax(slope · score + shift).

    Attributes:
        slope: Factor of all scores.
        shift: Addend of each class's score.
    """

    slope: NDArray[np.float32]
    shift: NDArray[np.float32]

    @classmethod
    def learn(cls, scores: NDArray[np.float32], acceptable: NDArray[np.bool_]) -> Calibration:
        """Return the calibration under which it is likeliest that the answers are acceptable.

        Args:
            scores: One row a text, one column a class.
            acceptable: Of the same shape: which answers count as right, the class itself and the alternatives that its writer named.
        """
        texts, classes = scores.shape
        double = scores.astype(np.float64)

        def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            slope, shift = np.exp(parameters[0]), parameters[1:]
            probabilities = calibrated(double, slope, shift)
            right = np.where(acceptable, probabilities, 0)
            likelihood = np.maximum(right.sum(axis=1, keepdims=True), 1e-12)
            value = -np.log(likelihood).mean() + _PULL * (shift @ shift) / classes
            wrong = (probabilities - right / likelihood) / texts
            gradient = np.concatenate(([(wrong * double).sum() * slope], wrong.sum(axis=0) + 2 * _PULL * shift / classes))
            return float(value), gradient

        found = minimize(loss, np.zeros(classes + 1), jac=True, method="L-BFGS-B").x
        return cls(np.exp(found[:1]).astype(np.float32), found[1:].astype(np.float32))

    def apply(self, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return probabilities."""
        return calibrated(scores, self.slope, self.shift)


def abstain_bar(confidence: NDArray[np.float64], right: NDArray[np.bool_], precision: float) -> float:
    """Return the lowest probability from which on at least `precision` of the answers are right, within sane bounds."""
    order = np.argsort(-confidence, kind="stable")
    share_right = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(share_right >= precision)
    bar = confidence[order[enough[-1]]] if len(enough) else _HIGHEST_BAR
    return float(np.clip(bar, _LOWEST_BAR, _HIGHEST_BAR))
