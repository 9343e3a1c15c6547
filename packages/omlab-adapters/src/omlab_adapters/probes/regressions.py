"""Linear heads on designs, for several penalties at once: logistic regression of classes, ridge regression of numbers.

A head gives `raw = weights @ x + bias` for each name: what softmax (one class is right), the logistic function (each
class by itself) or nothing (numbers) makes an answer of. Of a class that no case is of, the bias is minus infinity, of
one that all cases are of plus infinity: nothing can be learned of it but that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from omlab_adapters.probes.designs import Design
from omlab_adapters.probes.lessons import Form
from omlab_adapters.probes.solver import solve_logistic

Floats = NDArray[np.float64]


class Heads(NamedTuple):
    """A head for each of S penalties: weights (S, K, R) in the coordinates of a design, biases (S, K)."""

    weights: Tensor
    biases: Tensor
    gradient: float
    """The largest norm of a gradient where the solver stopped."""

    def raw(self, coordinates: Tensor) -> Tensor:
        """Of cases (N, R): (S, N, K)."""
        return coordinates @ self.weights.mT + self.biases[:, None]


@dataclass(frozen=True, kw_only=True)
class Sides:
    """Which classes have training cases that are of them, and others."""

    positive: NDArray[np.bool_]
    negative: NDArray[np.bool_]

    @staticmethod
    def of(targets: Floats) -> Sides:
        """Of targets (N, K)."""
        return Sides(positive=(targets == 1).any(axis=0), negative=(targets == 0).any(axis=0))

    @property
    def both(self) -> NDArray[np.bool_]:
        """The classes that something can be learned of."""
        return self.positive & self.negative


def solve_heads(
    form: Form, designs: Sequence[Design], targets: Sequence[Floats], *, strengths: Sequence[float]
) -> list[Heads]:
    """The heads of designs, for each strength.

    Args:
        form: Of the targets.
        designs: Of the cases that are learned from.
        targets: Of the same cases: (N, K), NaN where not known.
        strengths: C of scikit-learn's LogisticRegression; 1 / alpha of its Ridge.
    """
    if form == "scores":
        return [_ridge(design, wanted, strengths) for design, wanted in zip(designs, targets, strict=True)]
    if form == "several":
        return _binary(designs, targets, strengths)
    found: dict[int, Heads] = {}
    alike: dict[tuple[int, ...], list[int]] = {}
    for n, wanted in enumerate(targets):
        alike.setdefault(tuple(np.flatnonzero(wanted.sum(axis=0)).tolist()), []).append(n)
    for present, numbers in alike.items():
        parts = [designs[n] for n in numbers], [targets[n] for n in numbers]
        found.update(zip(numbers, _one_of(*parts, present=present, strengths=strengths), strict=True))
    return [found[n] for n in range(len(designs))]


def losses_of(form: Form, raw: Tensor, targets: Floats, sides: Sides, *, smoothing: float = 0.0) -> Tensor:
    """What heads lose on cases: the sum over statements that count, (S,), and how many these are.

    Statements count where the target is known and the cases that were learned from could teach it.

    Args:
        form: Of the targets.
        raw: (S, N, K).
        targets: (N, K).
        sides: Of the cases that were learned from.
        smoothing: The share of what is right that goes to all classes alike.

    Returns:
        (S + 1,): the sums, then the number.
    """
    wanted, counted = torch.from_numpy(np.nan_to_num(targets)), torch.from_numpy(counted_in(form, targets, sides))
    if form == "one":
        is_there = torch.from_numpy(sides.positive)
        wanted = torch.where(is_there, (1 - smoothing) * wanted + smoothing / is_there.sum(), 0.0)
        losses = -torch.where(wanted > 0, wanted * functional.log_softmax(raw, dim=-1), 0.0).sum(dim=-1)
    elif form == "several":
        losses = functional.softplus(raw) - ((1 - smoothing) * wanted + smoothing / 2) * raw
    else:
        losses = (raw - wanted) ** 2
    sums = torch.where(counted, losses, 0.0).flatten(1).sum(dim=1)
    return torch.cat([sums, counted.sum()[None].to(sums.dtype)])


def counted_in(form: Form, targets: Floats, sides: Sides) -> NDArray[np.bool_]:
    """Which statements count: cases (N,) where one class is right, else (N, K)."""
    if form == "one":
        return np.asarray((targets[:, sides.positive] > 0).any(axis=1))
    known = np.isfinite(targets)
    return known & sides.both if form == "several" else known


def _binary(designs: Sequence[Design], targets: Sequence[Floats], strengths: Sequence[float]) -> list[Heads]:
    """Each class against the others, on the cases that say whether they are of it."""
    classes, number = targets[0].shape[1], len(strengths)
    coordinates = _padded([design.coordinates for design in designs])
    groups, cases, width = coordinates.shape
    wanted, counts = torch.zeros(2, groups, classes, cases, dtype=torch.float64)
    biases = torch.zeros(groups, number, classes, dtype=torch.float64)
    for g, values in enumerate(targets):
        sides = Sides.of(values)
        wanted[g, :, : len(values)] = torch.from_numpy(np.nan_to_num(values).T)
        counts[g, :, : len(values)] = torch.from_numpy((np.isfinite(values) & sides.both).T.astype(np.float64))
        biases[g, :, torch.from_numpy(~sides.both)] = -torch.inf
        biases[g, :, torch.from_numpy(sides.positive & ~sides.negative)] = torch.inf
    # (G, K, N) -> (G, S * K, 1, N)
    targets_of = wanted.repeat(1, number, 1)[:, :, None]
    costs = torch.tensor(strengths, dtype=torch.float64).repeat_interleave(classes).expand(groups, -1)
    found = solve_logistic(coordinates, targets_of, counts=counts.repeat(1, number, 1), strengths=costs)
    weights = found.weights.reshape(groups, number, classes, width)
    biases = torch.where(torch.isfinite(biases), found.biases.reshape(groups, number, classes), biases)
    return [
        Heads(weights[g, :, :, : design.coordinates.shape[1]], biases[g], float(found.gradients[g].max()))
        for g, design in enumerate(designs)
    ]


def _one_of(
    designs: Sequence[Design], targets: Sequence[Floats], *, present: tuple[int, ...], strengths: Sequence[float]
) -> list[Heads]:
    """One class is right, of those present: a softmax; of two the logistic function of their difference."""
    classes, number = targets[0].shape[1], len(strengths)
    coordinates = _padded([design.coordinates for design in designs])
    groups, cases, width = coordinates.shape
    outputs = 1 if len(present) == 2 else len(present)
    wanted = torch.zeros(groups, 1, outputs, cases, dtype=torch.float64)
    counts = torch.zeros(groups, number, cases, dtype=torch.float64)
    for g, values in enumerate(targets):
        wanted[g, 0, :, : len(values)] = torch.from_numpy(values[:, present[-outputs:]].T)
        counts[g, :, : len(values)] = torch.from_numpy((values.sum(axis=1) > 0).astype(np.float64))
    costs = torch.tensor(strengths, dtype=torch.float64).expand(groups, -1)
    if len(present) < 2:  # nothing to tell apart: as it is, it is the only answer
        counts = counts * 0
    found = solve_logistic(coordinates, wanted, counts=counts, strengths=costs)
    weights = torch.zeros(groups, number, classes, width, dtype=torch.float64)
    biases = torch.full((groups, number, classes), -torch.inf, dtype=torch.float64)
    biases[:, :, list(present)] = 0.0
    weights[:, :, list(present[-outputs:])] = found.weights
    biases[:, :, list(present[-outputs:])] = found.biases
    return [
        Heads(weights[g, :, :, : design.coordinates.shape[1]], biases[g], float(found.gradients[g].max()))
        for g, design in enumerate(designs)
    ]


def _ridge(design: Design, targets: Floats, strengths: Sequence[float]) -> Heads:
    """Least squares with the penalty alpha |w|^2, alpha = 1 / strength (Hoerl and Kennard 1970); biases are free.

    Each number by its own cases. Of a number that no case has, the answer is 0.
    """
    number, names, width = len(strengths), targets.shape[1], design.coordinates.shape[1]
    alphas = 1 / torch.tensor(strengths, dtype=torch.float64)
    weights = torch.zeros(number, names, width, dtype=torch.float64)
    biases = torch.zeros(number, names, dtype=torch.float64)
    for k in range(names):
        known = np.isfinite(targets[:, k])
        if not known.any():
            continue
        x, y = design.coordinates[torch.from_numpy(known)], torch.from_numpy(targets[known, k])
        centre = x.mean(dim=0)
        squares, axes = torch.linalg.eigh((x - centre).T @ (x - centre))
        along = axes.T @ ((x - centre).T @ (y - y.mean()))
        weights[:, k] = (along / (squares.clamp(min=0) + alphas[:, None])) @ axes.T
        biases[:, k] = y.mean() - weights[:, k] @ centre
    return Heads(weights, biases, 0.0)


def _padded(parts: Sequence[Tensor]) -> Tensor:
    """Matrices (N, R) of several sizes as one tensor, filled up with zeros."""
    cases, width = (max(part.shape[axis] for part in parts) for axis in (0, 1))
    return torch.stack([functional.pad(part, (0, width - part.shape[1], 0, cases - len(part))) for part in parts])
