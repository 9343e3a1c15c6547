"""Tables of relative positions for another grid of patches: BEiT's geometric interpolation, mended or as published.

The rows of a table for a grid of n patches a side stand for the distances -(n - 1)..n - 1 along each axis. For a larger
grid they are taken to lie at 0, +-1, +-(1 + q), +-(1 + q + q^2), ..., with q such that the outermost reaches the new
grid's largest distance: near patches keep their resolution. A cubic spline through them gives the new rows; the three
of the class token stay. Source: Bao et al., BEiT, ICLR 2022, and its published code.

Upstream's code has two faults, and published fine-tuned figures were made with them: its result is transposed, and
new rows a little beyond the outermost old one, to which the search for q may stop short, are NaN.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Form = Literal["clamped", "upstream"]

CLASS_ROWS = 3
"""At the end of a table: class token to patch, patch to class token, class token to itself."""
_LOW, _HIGH, _CLOSE = 1.01, 1.5, 1e-6


def table_side(table: Tensor) -> int:
    """Patches a side of the grid that a table (rows, heads) with class rows is for. Raises `ValueError`."""
    side = round((len(table) - CLASS_ROWS) ** 0.5) if table.ndim == 2 and len(table) > CLASS_ROWS else 0
    if side % 2 == 0 or side**2 + CLASS_ROWS != len(table):
        raise ValueError(
            f"A table of relative positions has (2 n - 1)^2 + 3 rows and a column a head, not {tuple(table.shape)}."
        )
    return (side + 1) // 2


def source_distances(source: int, target: int) -> tuple[float, NDArray[np.float64]]:
    """The ratio q, and where the 2 `source` - 1 old distances are taken to lie; q by bisection, as published."""
    low, high, steps = _LOW, _HIGH, source - 1
    ratio = low
    while high - low > _CLOSE:
        ratio = (low + high) / 2
        reach = (1 - ratio**steps) / (1 - ratio)
        low, high = (low, ratio) if reach > target - 1 else (ratio, high)
    outward = np.cumsum(ratio ** np.arange(steps))
    return ratio, np.concatenate([-outward[::-1], [0.0], outward])


def resize_table(table: Tensor, grid: int, *, form: Form = "clamped") -> Tensor:
    """A table for a `grid` of patches a side.

    Args:
        table: ((2 n - 1)^2 + 3, heads) of a grid of n patches a side, y before x.
        grid: Patches a side of the new one; for n itself the table is given back.
        form: "clamped" is BEiT's rule without upstream's faults: rows beyond the outermost old one equal it.
            "upstream" is what its code does, transposed and NaN there.

    Returns:
        ((2 grid - 1)^2 + 3, heads) in the type of `table`.

    Raises:
        ValueError: The table is none with class rows.
    """
    source = table_side(table)
    if source == grid:
        return table
    side, size = 2 * source - 1, 2 * grid - 1
    patches = table[:-CLASS_ROWS].detach().double().cpu().numpy().reshape(side, side, -1)
    _, at = source_distances(source, grid)
    wanted = np.arange(1 - grid, grid, dtype=np.float64)
    found = _clamped(patches, at, wanted) if form == "clamped" else _as_upstream(patches, at, wanted)
    rows = torch.from_numpy(found.reshape(size * size, -1)).to(table)
    return torch.cat([rows, table[-CLASS_ROWS:].detach()])


def _clamped(patches: NDArray[np.float64], at: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """A spline is linear in what it goes through: one matrix for both axes and all heads."""
    from scipy.interpolate import make_interp_spline  # type: ignore[import-untyped]

    spline = make_interp_spline(at, np.eye(len(at)), k=min(3, len(at) - 1))
    matrix = spline(np.clip(wanted, at[0], at[-1]))
    found: NDArray[np.float64] = np.einsum("iy,jx,yxh->ijh", matrix, matrix, patches)
    return found


def _as_upstream(
    patches: NDArray[np.float64], at: NDArray[np.float64], wanted: NDArray[np.float64]
) -> NDArray[np.float64]:
    from scipy.interpolate import RegularGridInterpolator

    points = np.stack(np.meshgrid(wanted, wanted, indexing="ij"), axis=-1)
    heads = [
        RegularGridInterpolator((at, at), one, method="cubic", bounds_error=False)(points).T
        for one in np.moveaxis(patches, -1, 0)
    ]
    return np.stack(heads, axis=-1)
