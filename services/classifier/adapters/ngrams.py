"""Character n-grams of normalised texts as integers, for many texts at once.

A text becomes a row of 16-bit symbols; an n-gram is up to four symbols packed into one 64-bit key, so that looking n-grams up is a binary
search in a sorted array and no Python object is made for any of them. Digits count as one symbol and runs of them as one digit,
punctuation and blanks as one separator, a run of one character as at most three of it: none of these differences tells classes apart,
and a text of 10,000 repetitions stays small.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from services.classifier.domain.text import IGNORED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SYMBOL_BITS = 16
LONGEST = 4
"""Longest n-gram, in symbols, that fits into a key."""

_DROPPED = 0
_EDGE = 1
_DIGIT = ord("0")
_SEPARATOR = ord(" ")
_OUTSIDE_BMP = 2
_BMP = 0x10000
_LONGEST_RUN = 3


@dataclass(frozen=True, slots=True)
class Grams:
    """N-grams of some texts, in no particular order.

    Attributes:
        keys: The n-grams' keys.
        texts: Index of the text that each comes from, rising within each length of n-gram.
        starts: Position of each n-gram's first character in its text.
        ends: One past the position of its last character.
    """

    keys: NDArray[np.uint64]
    texts: NDArray[np.int32]
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]


def grams(texts: Sequence[str], longest: int) -> Grams:
    """Return all n-grams of 1 to `longest` symbols of `texts`, which must be normalised.

    Each text is framed by edge symbols, so that its first and last words have n-grams of their own; no n-gram crosses from text to text.
    """
    symbols, owners, positions = _symbols(texts)
    keys, of_text, starts, ends = [], [], [], []
    packed = symbols.astype(np.uint64)
    for length in range(1, longest + 1):
        count = len(symbols) - length + 1
        if count <= 0:
            break
        if length > 1:
            packed = (packed[:count] << np.uint64(SYMBOL_BITS)) | symbols[length - 1 :]
        last = slice(length - 1, None)
        kept = owners[:count] == owners[last]
        if length == 1:
            kept &= (symbols != _EDGE) & (symbols != _SEPARATOR)
        keys.append(packed[:count][kept])
        of_text.append(owners[:count][kept])
        starts.append(positions[:count][kept])
        ends.append(positions[last][kept] + 1)
    return Grams(np.concatenate(keys), np.concatenate(of_text), np.concatenate(starts), np.concatenate(ends))


def spelled(key: int) -> str:
    """Return an n-gram's symbols as text, for people: `^` for an edge, `#` for a digit."""
    shown = {_EDGE: "^", _DIGIT: "#", _OUTSIDE_BMP: "?"}
    symbols = []
    while key:
        symbol = key & (_BMP - 1)
        symbols.append(shown.get(symbol, chr(symbol)))
        key >>= SYMBOL_BITS
    return "".join(reversed(symbols))


def _symbols(texts: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.int32], NDArray[np.int32]]:
    """Return the symbols of all texts, framed by edges, with the text and the position that each comes from."""
    lengths = np.fromiter((len(text) for text in texts), np.int32, len(texts)) + 2
    framed = "\x01" + "\x01\x01".join(texts) + "\x01"
    code_points = np.frombuffer(framed.encode("utf-32-le", "surrogatepass"), np.uint32)
    symbols = _symbol_table()[np.minimum(code_points, _BMP)]
    owners = np.repeat(np.arange(len(texts), dtype=np.int32), lengths)
    positions = np.arange(len(symbols), dtype=np.int32) - np.repeat(np.cumsum(lengths, dtype=np.int32) - lengths, lengths) - 1

    kept = symbols != _DROPPED
    symbols, owners, positions = symbols[kept], owners[kept], positions[kept]
    kept = _outside_long_runs(symbols)
    return symbols[kept].astype(np.uint64), owners[kept], positions[kept]


def _outside_long_runs(symbols: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Say which symbols to keep: of digits and separators the first of a run, of others the first three, of edges all."""
    repeated = np.zeros(len(symbols), np.bool_)
    repeated[1:] = symbols[1:] == symbols[:-1]
    run = repeated.copy()
    for back in range(1, _LONGEST_RUN):
        run[back:] &= repeated[:-back]
        run[:back] = False
    single = (symbols == _DIGIT) | (symbols == _SEPARATOR)
    kept: NDArray[np.bool_] = ~(np.where(single, repeated, run) & (symbols != _EDGE))
    return kept


@cache
def _symbol_table() -> NDArray[np.uint16]:
    """Return the symbol of each code point of the BMP, and last the one symbol of all others."""
    table = np.fromiter((_symbol(chr(code_point)) for code_point in range(_BMP)), np.uint16, _BMP)
    return np.append(table, np.uint16(_OUTSIDE_BMP))


def _symbol(character: str) -> int:
    if character == "\x01":
        return _EDGE
    if character == IGNORED:
        return _DROPPED
    category = unicodedata.category(character)
    if category == "Nd":
        return _DIGIT
    if category[0] in "PSZC":
        return _SEPARATOR
    return ord(character)
