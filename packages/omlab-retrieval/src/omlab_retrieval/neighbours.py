"""Nearest neighbours by cosine similarity: exact, and in blocks, so that millions of vectors need little memory.

Matrices are (N, D), a row a case; they may be memory-mapped and are read block by block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab import progress
from omlab.errors import InputError, UsageError

Matrix = NDArray[np.floating[Any]]
Vector = NDArray[np.float64]
Rows = NDArray[np.int64]

BLOCK_BYTES = 16 << 20
"""What a block of vectors, and one of similarities, may hold."""
_BLOCK_ROWS = 8192
_DECIMALS = 10
"""Of a similarity: what lies behind them differs by the order of summation, and copies of a vector must be equal."""


class NotFiniteError(InputError):
    """A vector has entries that are NaN or infinite; `row` says which, of the matrix `what`."""

    def __init__(self, what: str, row: int) -> None:
        super().__init__(f"Row {row} of the {what} vectors has entries that are NaN or infinite.")
        self.what, self.row = what, row


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """The nearest known vectors of Q queries, the nearest first; of those that are as near, the first row.

    Attributes:
        rows: Of the known matrix, (Q, K).
        similarities: The cosines, (Q, K), from 1 (the same direction) to -1; 0 where one of the two vectors is 0.
    """

    rows: Rows
    similarities: Vector


def search(known: Matrix, asked: Matrix, *, k: int = 10, own: Rows | None = None) -> Neighbours:
    """The K known vectors with the highest cosine similarity to each query.

    Args:
        known: (N, D).
        asked: The queries, (Q, D).
        k: How many are wanted; K is smaller where fewer are known.
        own: (Q,), for each query the row of `known` that is the query itself and no neighbour of its own.

    Raises:
        UsageError: `k` is not positive, or the matrices do not fit each other.
        NotFiniteError: A vector has entries that are NaN or infinite.
    """
    check_matrices(known, asked)
    if k < 1:
        raise UsageError(f"The number of neighbours is {k}, but must be at least 1.")
    if own is not None and len(own) != len(asked):
        raise UsageError(f"There are {len(asked)} queries, but own rows of {len(own)}.")
    count = max(0, min(k, len(known) - (own is not None)))
    similarities = np.full((len(asked), count), -np.inf)
    rows = np.full((len(asked), count), -1, np.int64)
    size = min(_BLOCK_ROWS, rows_a_block(known.shape[1]))
    parts = rows_a_block(max(size + count, known.shape[1]))
    with progress.bar("comparing", total=len(known)) as advance:
        for start, block in unit_blocks(known, size, what="known"):
            for first, queries in unit_blocks(asked, parts, what="asked"):
                part = slice(first, first + len(queries))
                cosines = np.round(queries @ block.T, _DECIMALS).clip(-1, 1)
                if own is not None:
                    _leave_out(cosines, own[part] - start)
                if count:
                    _keep_best(similarities[part], rows[part], cosines, start=start)
            advance(len(block))
    return Neighbours(rows=rows, similarities=similarities + 0.0)  # no -0


def check_matrices(known: Matrix, asked: Matrix) -> None:
    """Raise `UsageError` where two matrices are not (N, D) and (Q, D) of numbers."""
    for what, matrix in (("known", known), ("asked", asked)):
        if matrix.ndim != 2 or matrix.dtype.kind != "f" or not matrix.shape[1]:
            raise UsageError(
                f"The {what} vectors are {matrix.shape} of {matrix.dtype}, not (cases, features) of floats."
            )
    if known.shape[1] != asked.shape[1]:
        raise UsageError(
            f"The known vectors have {known.shape[1]} features, those asked for {asked.shape[1]}: "
            "they are not of the same model."
        )


def rows_a_block(width: int) -> int:
    """How many rows of so many float64 a block holds."""
    return max(1, BLOCK_BYTES // (8 * width))


def check_finite(matrix: Matrix, *, what: str) -> None:
    """Raise `NotFiniteError` where an entry is NaN or infinite."""
    for _ in blocks(matrix, rows_a_block(matrix.shape[1]), what=what):
        pass


def blocks(matrix: Matrix, size: int, *, what: str) -> Iterator[tuple[int, Vector]]:
    """The first row and the vectors, as float64, of each block of a matrix. Raises `NotFiniteError`."""
    for start in range(0, len(matrix), size):
        block = matrix[start : start + size]
        finite = np.isfinite(block).all(axis=1)
        if not finite.all():
            raise NotFiniteError(what, start + int(np.argmin(finite)))
        yield start, np.asarray(block, np.float64)


def unit_blocks(matrix: Matrix, size: int, *, what: str) -> Iterator[tuple[int, Vector]]:
    """Likewise, with vectors of length 1; those of length 0 stay. Raises `NotFiniteError`."""
    for start, block in blocks(matrix, size, what=what):
        lengths = np.sqrt(np.einsum("ij,ij->i", block, block))[:, None]
        yield start, block / np.where(lengths > 0, lengths, 1)


def _leave_out(cosines: Vector, columns: Rows) -> None:
    """Give each query's own vector, where it is in this block, a similarity that everything else exceeds."""
    inside = np.flatnonzero((columns >= 0) & (columns < cosines.shape[1]))
    cosines[inside, columns[inside]] = -np.inf


def _keep_best(similarities: Vector, rows: Rows, cosines: Vector, *, start: int) -> None:
    """Keep, in place, the highest of what was found before (Q, K) and of a further block (Q, B) of known vectors."""
    better = np.flatnonzero((cosines > similarities[:, -1:]).any(axis=1))
    if not better.size:
        return
    count = similarities.shape[1]
    places = np.broadcast_to(start + np.arange(cosines.shape[1]), (better.size, cosines.shape[1]))
    both = np.concatenate([similarities[better], cosines[better]], axis=1)
    places = np.concatenate([rows[better], places], axis=1)
    # exactly K a query: all above the K-th highest, and of those equal to it the first
    least = -np.partition(-both, count - 1, axis=1)[:, count - 1 : count]
    above, equal = both > least, both == least
    chosen = above | (equal & (np.cumsum(equal, axis=1) <= count - above.sum(axis=1, keepdims=True)))
    found, at = both[chosen].reshape(-1, count), places[chosen].reshape(-1, count)
    order = np.argsort(-found, axis=1, kind="stable")
    similarities[better] = np.take_along_axis(found, order, axis=1)
    rows[better] = np.take_along_axis(at, order, axis=1)
