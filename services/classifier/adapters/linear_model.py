"""The fast recogniser: TF-IDF of character n-grams, one sparse dot product with a plain matrix, calibrated.

It needs numpy alone, so that a serving process loads neither SciPy nor scikit-learn.

    text ─► n-grams ─► known ones, counted ─► (1 + ln tf)·idf, length 1 ─► scores = x·W + b ─► softmax(scores·slope + shift)
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import islice, pairwise
from typing import TYPE_CHECKING

import numpy as np

from services.classifier.adapters.ngrams import grams
from services.classifier.domain.classification import OTHER, ClassCode, ClassProbability, EvidenceSpan, Recognition
from services.classifier.domain.segments import segments

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from services.classifier.domain.classification import DistrictCode, ModelRelease, RequestClass
    from services.classifier.domain.districts import DistrictFinder

_CHARACTERS_AT_ONCE = 20_000
"""Bounds the memory that a batch takes, whatever its texts."""
_MOST_SPANS = 5
_SURE_IN_A_PART = 0.75
"""From this probability on a part of a text raises a matter of its own. Across writers four of five matters found so are really raised."""
_LAST_OF_BMP = "\uffff"
_SPAN_FLOOR = 0.3
"""Share of the strongest character's contribution from which on a character belongs to the evidence."""


@dataclass(frozen=True, slots=True)
class LinearParameters:
    """What training hands to serving: arrays, nothing else.

    Attributes:
        keys: Known n-grams, ascending.
        idf: Inverse document frequency of each.
        weights: One row an n-gram, one column a class.
        bias: One a class.
        slope: Calibration: factor of all scores; one element.
        shift: Calibration: addend of each class's score.
        longest: Longest n-gram, in symbols; one element.
    """

    keys: NDArray[np.uint64]
    idf: NDArray[np.float32]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    slope: NDArray[np.float32]
    shift: NDArray[np.float32]
    longest: NDArray[np.int32]

    def arrays(self) -> Mapping[str, NDArray[np.generic]]:
        """Return the arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True)
class Row:
    """One text as the model sees it.

    Attributes:
        features: The known n-grams in it, each once, ascending.
        values: Their TF-IDF, of length 1 together.
        occurring: For each occurrence of a known n-gram, its index in `features`.
        starts: For each occurrence, its first character.
        ends: For each occurrence, one past its last character.
    """

    features: NDArray[np.int64]
    values: NDArray[np.float32]
    occurring: NDArray[np.int64]
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]


class Vectoriser:
    """Turns texts into rows of TF-IDF over the known n-grams."""

    def __init__(self, keys: NDArray[np.uint64], idf: NDArray[np.float32], longest: int) -> None:
        self._keys = keys
        self._idf = idf
        self._longest = longest

    def rows(self, texts: Sequence[str]) -> Iterator[Row]:
        """Return a row a text, in their order. Texts must be normalised."""
        for part in _parts(texts):
            yield from self._rows(part)

    def _rows(self, texts: Sequence[str]) -> Iterator[Row]:
        found = grams(texts, self._longest)
        index = np.minimum(np.searchsorted(self._keys, found.keys), len(self._keys) - 1)
        known = self._keys[index] == found.keys
        index, owners = index[known], found.texts[known]
        starts, ends = found.starts[known], found.ends[known]

        order = np.argsort(owners, kind="stable")
        index, starts, ends = index[order], starts[order], ends[order]
        bounds = np.searchsorted(owners[order], np.arange(len(texts) + 1))
        for begin, end in pairwise(bounds):
            features, occurring, counts = np.unique(index[begin:end], return_inverse=True, return_counts=True)
            values = (1 + np.log(counts.astype(np.float32))) * self._idf[features]
            length = np.sqrt(values @ values)
            yield Row(features, values / length if length else values, occurring, starts[begin:end], ends[begin:end])


class LinearRecogniser:
    """A `Recogniser` by `LinearParameters`."""

    def __init__(
        self,
        parameters: LinearParameters,
        *,
        release: ModelRelease,
        classes: Sequence[RequestClass],
        districts: DistrictFinder,
    ) -> None:
        """Serve a model; `classes` are in the order of the columns of its weights."""
        self._parameters = parameters
        self._release = release
        self._classes = tuple(classes)
        self._codes = tuple(each.code for each in classes)
        self._districts = districts
        self._vectoriser = Vectoriser(parameters.keys, parameters.idf, int(parameters.longest[0]))

    @property
    def release(self) -> ModelRelease:
        """The model that answers."""
        return self._release

    @property
    def parameters(self) -> LinearParameters:
        """Its arrays."""
        return self._parameters

    @property
    def classes(self) -> Sequence[RequestClass]:
        """Classes that the model knows, in the catalogue's order, `other` last."""
        return self._classes

    def district(self, text: str) -> DistrictCode | None:
        """Return the district that a normalised text names, or None."""
        return self._districts.find(text)

    def recognise(self, texts: Sequence[str]) -> list[Recognition]:
        """Return an answer a text, in their order. Texts must be normalised."""
        parts = [segments(text) for text in texts]
        raised = self._raised([part for parts_of_text in parts for part in parts_of_text])
        return [
            self._recognise(text, row, list(islice(raised, len(parts_of_text))))
            for text, row, parts_of_text in zip(texts, self._vectoriser.rows(texts), parts, strict=True)
        ]

    def _raised(self, parts: Sequence[str]) -> Iterator[int | None]:
        """Return for each part of a text the class that it raises, or None where none is sure."""
        for row in self._vectoriser.rows(parts):
            probabilities = self._probabilities(row, self._parameters.weights[row.features])
            first = int(probabilities.argmax())
            yield first if probabilities[first] >= _SURE_IN_A_PART and self._codes[first] != OTHER else None

    def _probabilities(self, row: Row, weights: NDArray[np.float32]) -> NDArray[np.float64]:
        return calibrated(row.values @ weights + self._parameters.bias, self._parameters.slope, self._parameters.shift)

    def _recognise(self, text: str, row: Row, raised: Sequence[int | None]) -> Recognition:
        weights = self._parameters.weights[row.features]
        probabilities = self._probabilities(row, weights)
        ranking = np.argsort(-probabilities, kind="stable")
        first = int(ranking[0])
        contributions = row.values * (weights[:, first] - weights.mean(axis=1))
        return Recognition(
            classes=tuple(
                ClassProbability(self._codes[column], probability)
                for column, probability in zip(ranking.tolist(), probabilities[ranking].tolist(), strict=True)
            ),
            evidence=_evidence(row, contributions, len(text)),
            informative=_characters_known(row, text),
            issues=self._issues(first, raised),
        )

    def _issues(self, main: int, raised: Sequence[int | None]) -> tuple[ClassCode, ...]:
        """Return the main class, then those of the text's parts in their order, each once."""
        columns = dict.fromkeys((main, *(column for column in raised if column is not None)))
        return tuple(self._codes[column] for column in columns)


def calibrated(scores: NDArray[np.floating], slope: NDArray[np.floating], shift: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return probabilities, one a class along the last axis, that add up to 1.

    Formula: softmax(slope · score + shift), temperature scaling with a bias for each class (Guo et al. 2017, On Calibration of
    Modern Neural Networks, §4.2).
    """
    logits = (scores * slope + shift).astype(np.float64)
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: NDArray[np.float64] = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return probabilities


def _parts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Split texts into runs of a bounded number of characters."""
    begin = characters = 0
    for position, text in enumerate(texts):
        if characters and characters + len(text) > _CHARACTERS_AT_ONCE:
            yield texts[begin:position]
            begin, characters = position, 0
        characters += len(text) + 1
    if begin < len(texts):
        yield texts[begin:]


def _spread(row: Row, amounts: NDArray[np.floating], length: int) -> NDArray[np.float64]:
    """Spread an amount for each occurrence evenly over its characters; returns the sum for each character of the text."""
    starts, ends = np.maximum(row.starts, 0), np.minimum(row.ends, length)
    share = amounts / np.maximum(ends - starts, 1)
    steps = np.bincount(starts, share, length + 1) - np.bincount(ends, share, length + 1)
    return np.cumsum(steps[:length])


def _evidence(row: Row, contributions: NDArray[np.float32], length: int) -> tuple[EvidenceSpan, ...]:
    """Return the runs of characters that contributed most, in their order in the text."""
    if len(row.occurring) == 0 or length == 0:
        return ()
    occurrences = np.bincount(row.occurring, minlength=len(contributions))
    strength = _spread(row, (contributions / occurrences)[row.occurring], length)
    strongest = strength.max()
    if strongest <= 0:
        return ()
    inside = np.concatenate(([False], strength >= _SPAN_FLOOR * strongest, [False]))
    edges = np.flatnonzero(inside[1:] != inside[:-1]).reshape(-1, 2)
    weights = np.add.reduceat(np.append(strength, 0.0), edges.ravel())[::2]
    chosen = np.sort(np.argsort(-weights, kind="stable")[:_MOST_SPANS])
    return tuple(EvidenceSpan(int(edges[i, 0]), int(edges[i, 1]), float(weights[i])) for i in chosen)


def _characters_known(row: Row, text: str) -> int:
    """Return how many letters and digits of the text are part of a known n-gram of at least two characters.

    Those beyond the BMP do not count: they all look the same to the model.
    """
    long = row.ends - row.starts >= 2  # noqa: PLR2004 - a single character says little
    starts, ends = np.maximum(row.starts[long], 0), np.minimum(row.ends[long], len(text))
    depth = np.cumsum(np.bincount(starts, minlength=len(text) + 1) - np.bincount(ends, minlength=len(text) + 1))
    known = (text[position] for position in np.flatnonzero(depth[: len(text)]).tolist())
    return sum(character.isalnum() and character <= _LAST_OF_BMP for character in known)
