"""Bodies in space that know their inside: what the anatomy is made of.

A shape answers for points given as three arrays x, y, z in mm (RAS+: x to the Right, y Anterior, z Superior)
and has a box, outside of which it is empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
Box = tuple[Sequence[float], Sequence[float]]
Power = Literal["2", "2.5"]
"""Of the superellipse: 2 is an ellipse, 2.5 has fuller corners."""


class Shape(Protocol):
    """Something with an inside."""

    @property
    def box(self) -> Box:
        """The lowest and the highest x, y, z."""
        ...

    def inside(self, x: Array, y: Array, z: Array) -> Mask:
        """Whether points lie inside."""
        ...


@dataclass(frozen=True, kw_only=True)
class Waves:
    """A smooth random function of space: a sum of sines, about -1..1. `vectors` are in rad/mm, (n, 3)."""

    vectors: NDArray[np.float32]
    phases: NDArray[np.float32]

    def __call__(self, x: Array, y: Array, z: Array) -> Array:
        """Its values at the points."""
        total = np.zeros(np.broadcast_shapes(x.shape, y.shape, z.shape), dtype=np.float32)
        for (kx, ky, kz), phase in zip(self.vectors, self.phases, strict=True):
            total += np.sin(kx * x + ky * y + kz * z + phase)
        return total / np.float32(len(self.phases)) ** np.float32(0.5)

    @classmethod
    def draw(cls, rng: np.random.Generator, *, shortest: float, longest: float, count: int = 4) -> Waves:
        """Random directions and phases, wavelengths between `shortest` and `longest` mm."""
        directions = rng.normal(size=(count, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        lengths = rng.uniform(shortest, longest, size=(count, 1))
        phases = rng.uniform(0, 2 * np.pi, size=count)
        return cls(vectors=(2 * np.pi * directions / lengths).astype(np.float32), phases=phases.astype(np.float32))


@dataclass(frozen=True, kw_only=True)
class Ellipsoid:
    """|u|^p + |v|^p + |w|^p <= (1 + bumps)^p for u, v, w along its own turned axes, in units of `axes` (mm)."""

    centre: tuple[float, float, float]
    axes: tuple[float, float, float]
    turn: NDArray[np.float64] = field(default_factory=lambda: np.eye(3))
    power: Power = "2"
    bumps: Waves | None = None
    bump_height: float = 0.0

    @property
    def box(self) -> Box:
        """A box around the sphere of its longest axis."""
        reach = max(self.axes) * (1 + 2 * self.bump_height) * 3 ** max(0.0, 0.5 - 1 / float(self.power))
        return [c - reach for c in self.centre], [c + reach for c in self.centre]

    def inside(self, x: Array, y: Array, z: Array) -> Mask:
        """Whether points lie inside."""
        p = (x - np.float32(self.centre[0]), y - np.float32(self.centre[1]), z - np.float32(self.centre[2]))
        total: Array | float = 0.0
        for column, axis in zip(self.turn.T.astype(np.float32), self.axes, strict=True):
            along = np.abs(p[0] * column[0] + p[1] * column[1] + p[2] * column[2]) / np.float32(axis)
            total = total + _raised(along, self.power)
        if self.bumps is None:
            return np.asarray(total <= 1.0)
        limit = 1 + np.float32(self.bump_height) * self.bumps(x, y, z)
        return np.asarray(total <= _raised(limit, self.power))


@dataclass(frozen=True, kw_only=True)
class Tube:
    """A vessel or column along z: an ellipse of `radii` (x, y) around a middle line that swings with z.

    The middle is at `centre` + `swing` * sin(2 pi z / `period` + `phase`), both (x, y) in mm.
    """

    centre: tuple[float, float]
    radii: tuple[float, float]
    swing: tuple[float, float] = (0.0, 0.0)
    period: float = 400.0
    phase: float = 0.0
    low: float = -1e4
    high: float = 1e4
    power: Power = "2"

    @property
    def box(self) -> Box:
        """Its box."""
        reach = [radius + abs(swing) for radius, swing in zip(self.radii, self.swing, strict=True)]
        low = [self.centre[0] - reach[0], self.centre[1] - reach[1], self.low]
        return low, [self.centre[0] + reach[0], self.centre[1] + reach[1], self.high]

    def inside(self, x: Array, y: Array, z: Array) -> Mask:
        """Whether points lie inside."""
        u, v = x - np.float32(self.centre[0]), y - np.float32(self.centre[1])
        if self.swing != (0.0, 0.0):
            wave = np.sin(np.float32(2 * np.pi / self.period) * z + np.float32(self.phase))
            u, v = u - np.float32(self.swing[0]) * wave, v - np.float32(self.swing[1]) * wave
        u, v = np.abs(u) / np.float32(self.radii[0]), np.abs(v) / np.float32(self.radii[1])
        mask = _raised(u, self.power) + _raised(v, self.power) <= 1
        return np.asarray(mask & (z >= self.low) & (z <= self.high))


@dataclass(frozen=True, kw_only=True)
class Where:
    """The part of `shape` where `side` (a function of x, y, z) holds."""

    shape: Shape
    side: _Side

    @property
    def box(self) -> Box:
        """The whole shape's."""
        return self.shape.box

    def inside(self, x: Array, y: Array, z: Array) -> Mask:
        """Whether points lie inside."""
        return self.shape.inside(x, y, z) & self.side(x, y, z)


class _Side(Protocol):
    def __call__(self, x: Array, y: Array, z: Array) -> Mask: ...


@dataclass(frozen=True, kw_only=True)
class Part:
    """A shape with its mean intensity in HU, the label that it gives (0: none) and what it may not leave."""

    shape: Shape
    hu: float
    label: int = 0
    within: Tube | None = None
    without: tuple[Shape, ...] = ()

    def inside(self, x: Array, y: Array, z: Array) -> Mask:
        """Whether points belong to this part, `within` aside: whoever paints many parts tests that once for all."""
        mask = self.shape.inside(x, y, z)
        for hole in self.without:
            mask &= ~hole.inside(x, y, z)
        return mask


def _raised(values: Array, power: Power) -> Array:
    """`values` (not negative) to one of the two powers in use: much faster than `**`."""
    squared = values * values
    return squared if power == "2" else np.asarray(squared * np.sqrt(values))


def turned(rng: np.random.Generator, *, degrees: float, mean: Sequence[float] = (0.0, 0.0, 0.0)) -> NDArray[np.float64]:
    """A rotation by `mean` degrees about x, y, z, each with a random spread of `degrees`."""
    a, b, c = np.radians(np.asarray(mean) + rng.uniform(-degrees, degrees, size=3))
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    turn: NDArray[np.float64] = about_z @ about_y @ about_x
    return turn
