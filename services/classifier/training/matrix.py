"""Texts as sparse rows, for training; `Vectoriser` is the same arithmetic for serving, and a test holds the two together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from services.classifier.adapters.ngrams import grams
from services.classifier.domain.text import normalise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_TEXTS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Counts:
    """How often each n-gram occurs in each text.

    Attributes:
        keys: N-grams, ascending; one a column.
        matrix: One row a text.
    """

    keys: NDArray[np.uint64]
    matrix: sparse.csr_matrix

    def rows(self, chosen: NDArray[np.int64]) -> Counts:
        """Return the chosen texts only, with all columns."""
        return Counts(self.keys, self.matrix[chosen])


@dataclass(frozen=True, slots=True)
class TfIdf:
    """A vocabulary with its weights, learnt from some texts.

    Attributes:
        columns: Columns of the `Counts` that are kept.
        keys: Their n-grams, ascending.
        idf: ln((1 + texts) / (1 + texts that have it)) + 1, as in scikit-learn.
    """

    columns: NDArray[np.int64]
    keys: NDArray[np.uint64]
    idf: NDArray[np.float32]

    @classmethod
    def learn(cls, counts: Counts, *, least_texts: int) -> TfIdf:
        """Learn from texts; n-grams that occur in fewer than `least_texts` of them are not kept."""
        having = np.bincount(counts.matrix.indices, minlength=len(counts.keys))
        columns = np.flatnonzero(having >= least_texts)
        idf = np.log((1 + counts.matrix.shape[0]) / (1 + having[columns])) + 1
        return cls(columns, counts.keys[columns], idf.astype(np.float32))

    def apply(self, counts: Counts) -> sparse.csr_matrix:
        """Return (1 + ln tf)·idf, each row of length 1."""
        matrix = counts.matrix[:, self.columns].astype(np.float32)
        matrix.data = 1 + np.log(matrix.data)
        matrix = matrix @ sparse.diags(self.idf)
        lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
        lengths[lengths == 0] = 1
        return sparse.csr_matrix(sparse.diags((1 / lengths).astype(np.float32)) @ matrix)


def count(texts: Sequence[str], longest: int) -> Counts:
    """Count the n-grams of 1 to `longest` symbols of texts as written."""
    keys, owners = [], []
    for begin in range(0, len(texts), _TEXTS_AT_ONCE):
        found = grams([normalise(text) for text in texts[begin : begin + _TEXTS_AT_ONCE]], longest)
        keys.append(found.keys)
        owners.append(found.texts + begin)
    distinct, columns = np.unique(np.concatenate(keys), return_inverse=True)
    ones = np.ones(len(columns), np.float32)
    matrix = sparse.coo_matrix((ones, (np.concatenate(owners), columns)), shape=(len(texts), len(distinct)))
    return Counts(distinct, matrix.tocsr())
