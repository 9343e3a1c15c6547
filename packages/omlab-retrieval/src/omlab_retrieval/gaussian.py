"""Mahalanobis distance to known vectors, with a covariance that is shrunk as Ledoit and Wolf say.

Source: Ledoit and Wolf, A well-conditioned estimator for large-dimensional covariance matrices, Journal of
Multivariate Analysis 88 (2004); as a score of what is foreign: Lee et al., A simple unified framework for detecting
out-of-distribution samples, NeurIPS 2018, with one Gaussian for all.
"""

from __future__ import annotations

import numpy as np

from omlab_retrieval.neighbours import Matrix, Vector, blocks, check_matrices, rows_a_block

LEAST = 3
"""Cases that are needed: of two, one is left when the other is looked at, which has no spread."""
_SPREAD = 1e-20
"""Squared spread, as a share of the squared length, below which vectors of float32 are all the same."""


class Gaussian:
    """A Gaussian of known vectors.

    Their covariance is S (over N) in the directions of its eigenvectors U with the variances s, shrunk to
    (1 - a) s + a m, where m is the mean of s and a the share that Ledoit and Wolf find.

    Args:
        known: (N, D). Fewer than three, or all the same, have no Gaussian: distances are NaN.

    Raises `NotFiniteError` where a vector has entries that are NaN or infinite.
    """

    def __init__(self, known: Matrix) -> None:
        from sklearn.covariance import ledoit_wolf_shrinkage  # type: ignore[import-untyped]

        check_matrices(known, known)
        self.count, self.width = known.shape
        vectors = np.empty(known.shape)
        for start, block in blocks(known, rows_a_block(self.width), what="known"):
            vectors[start : start + len(block)] = block
        self.mean = vectors.mean(axis=0) if self.count else np.zeros(self.width)
        vectors -= self.mean
        spread = float(np.einsum("ij,ij->", vectors, vectors)) / max(self.count, 1)
        self.is_defined = self.count >= LEAST and spread > _SPREAD * float(self.mean @ self.mean)
        if not self.is_defined:
            return
        self.shrinkage = float(ledoit_wolf_shrinkage(vectors, assume_centered=True))
        variances, self.directions = np.linalg.eigh(vectors.T @ vectors / self.count)
        self.variances = variances.clip(0)

    def distances(self, vectors: Matrix, *, what: str = "asked") -> Vector:
        """The distance of each of (Q, D), (Q,). Raises `NotFiniteError`."""
        shrunk = self._shrunk(1.0, self.variances.mean()) if self.is_defined else None
        found = np.full(len(vectors), np.nan)
        for start, block in blocks(vectors, rows_a_block(self.width), what=what):
            if shrunk is not None:
                turned = (block - self.mean) @ self.directions
                found[start : start + len(block)] = np.sqrt((turned**2 / shrunk).sum(axis=1))
        return found

    def left_out(self, known: Matrix) -> Vector:
        """The distance of each of the known vectors themselves, (N,), to the Gaussian of all others.

        The share a stays as it is for all; else it is exact. With d the deviation of a vector from the mean, the
        others have S' = N/(N-1) S - N/(N-1)^2 d d^T, and their mean lies N/(N-1) d away from the vector: the distance
        follows from one in the directions U by the formula of Sherman and Morrison.
        """
        found = np.full(self.count, np.nan)
        if not self.is_defined:
            return found
        more = self.count / (self.count - 1)
        taken = (1 - self.shrinkage) * more / (self.count - 1)
        for start, block in blocks(known, rows_a_block(self.width), what="known"):
            squares = ((block - self.mean) @ self.directions) ** 2
            means = (more * self.variances.sum() - more / (self.count - 1) * squares.sum(axis=1)) / self.width
            ratio = (squares / self._shrunk(more, means.clip(0)[:, None])).sum(axis=1)
            rest = np.maximum(1 - taken * ratio, np.finfo(float).eps)
            found[start : start + len(block)] = more * np.sqrt(ratio / rest)
        return found

    def _shrunk(self, scale: float, means: Vector | float) -> Vector:
        """The variances times `scale`, shrunk towards `means`; none is so small that dividing by it means nothing."""
        shrunk = (1 - self.shrinkage) * scale * self.variances + self.shrinkage * np.asarray(means)
        return np.asarray(np.maximum(shrunk, np.finfo(float).eps * self.variances.max()))
