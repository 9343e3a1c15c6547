"""Embeddings as a solver wants them: standardised by the cases that are learned from, in the space that they span.

A penalty on the length of weights keeps them in the span of the cases, so that of N cases with D features no more than
N coordinates matter: few shots make small problems. The coordinates are those along principal axes, whose columns are
orthogonal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Scaling = Literal["standard", "unit", "none"]

ALIKE = 1e-6
"""A feature whose standard deviation is a smaller part of its largest value is constant: float32 tells no more."""

RANK = 1e-12
"""Of the largest squared singular value: a smaller one is rounding."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """The cases that something is learned from.

    Attributes:
        mean: Subtracted from embeddings, (D,).
        scale: They are divided by it, (D,); infinite for a feature that is constant, so that it says nothing.
        is_unit: Embeddings were made vectors of length 1 before all else.
        axes: Principal axes, (D, R).
        coordinates: Of the cases, (N, R).
    """

    mean: Tensor
    scale: Tensor
    is_unit: bool
    axes: Tensor
    coordinates: Tensor

    @staticmethod
    def of(vectors: Tensor, *, scaling: Scaling) -> Design:
        """The design of embeddings (N, D).

        Args:
            vectors: Of the cases that are learned from, and of no other.
            scaling: `standard`: each feature has mean 0 and standard deviation 1; `unit`: each embedding has length 1;
                `none`: as they are.
        """
        vectors = vectors.to(torch.float64)
        is_unit = scaling == "unit"
        vectors = unit(vectors) if is_unit else vectors
        mean, scale = torch.zeros_like(vectors[0]), torch.ones_like(vectors[0])
        if scaling == "standard":
            mean, scale = vectors.mean(dim=0), vectors.std(dim=0, correction=0)
            scale = torch.where(scale > ALIKE * vectors.abs().amax(dim=0), scale, torch.inf)
        scaled = (vectors - mean) / scale
        axes = _principal_axes(scaled)
        return Design(mean=mean, scale=scale, is_unit=is_unit, axes=axes, coordinates=scaled @ axes)

    def project(self, vectors: Tensor) -> Tensor:
        """Coordinates (M, R) of other embeddings (M, D)."""
        vectors = vectors.to(torch.float64)
        return ((unit(vectors) if self.is_unit else vectors) - self.mean) / self.scale @ self.axes


def unit(vectors: Tensor) -> Tensor:
    """Vectors (..., D) of length 1; those of length 0 stay."""
    lengths = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors / torch.where(lengths > 0, lengths, 1)


def _principal_axes(vectors: Tensor) -> Tensor:
    """Orthonormal axes (D, R) that vectors (N, D) span, by the smaller of both products of the matrix with itself."""
    cases, features = vectors.shape
    squares, axes = torch.linalg.eigh(vectors.T @ vectors if cases > features else vectors @ vectors.T)
    kept = squares > RANK * squares[-1].clamp(min=torch.finfo(squares.dtype).tiny)
    found: Tensor = axes[:, kept] if cases > features else vectors.T @ axes[:, kept] / squares[kept].sqrt()
    return found
