"""Positions in space and the affines that move them, in plain Python: importing prompts needs no numpy."""

from __future__ import annotations

from collections.abc import Sequence

from omlab.errors import GeometryError

Position = tuple[float, float, float]
Affine = Sequence[Sequence[float]]
"""4 rows of 4: voxel centres (i, j, k, 1) to world mm, RAS+; a numpy array will do."""

LPS_TO_RAS: Affine = ((-1, 0, 0, 0), (0, -1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1))


def rows_of(affine: Affine) -> list[list[float]]:
    """An affine as lists of floats: arithmetic on numpy's own numbers is slower by far."""
    return [[float(value) for value in row] for row in affine]


def apply(matrix: Sequence[Sequence[float]], at: Sequence[float]) -> Position:
    """Where an affine (of floats) takes a position."""
    x, y, z = at
    a, b, c = ((row[0] * x + row[1] * y) + row[2] * z + row[3] for row in matrix[:3])
    return (a, b, c)


def inverse(affine: Affine) -> list[list[float]]:
    """Of an affine whose last row is 0, 0, 0, 1. Raises `GeometryError` where there is none."""
    m = rows_of(affine)
    # row n of the inverse times the determinant: the cross product of the two other columns
    columns = [[m[row][column] for row in range(3)] for column in range(3)]
    rows = [_cross(columns[(n + 1) % 3], columns[(n + 2) % 3]) for n in range(3)]
    determinant = sum(a * b for a, b in zip(columns[0], rows[0], strict=True))
    size = max(abs(value) for column in columns for value in column)
    if not abs(determinant) > 1e-9 * size**3:  # also where it is not a number
        raise GeometryError(f"The affine {m[:3]} is singular: positions in the image cannot be told from it.")
    turned = [[value / determinant for value in row] for row in rows]
    shift = [-sum(row[n] * m[n][3] for n in range(3)) for row in turned]
    return [[*row, back] for row, back in zip(turned, shift, strict=True)] + [[0.0, 0.0, 0.0, 1.0]]


def _cross(a: Sequence[float], b: Sequence[float]) -> list[float]:
    return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
