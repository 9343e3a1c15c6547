"""A heat map of single mutants: a column for each position, a row for each residue; red is worse, blue is better."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from omlab.errors import UsageError
from omlab_protein.alphabet import RESIDUES
from omlab_protein.substitutions import parse
from omlab_report.png import encode_png

CELL = 8
"""Pixels of a cell's side."""
_WORSE, _SAME, _BETTER, _UNKNOWN = (
    np.array(rgb, float) for rgb in ((178, 24, 43), (247, 247, 247), (33, 102, 172), (190, 190, 190))
)


def matrix(mutants: Sequence[str], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores (20, positions) of the single mutants; NaN where there is none, 0 for the residue that is there.

    Raises `UsageError` where no mutant is a single one.
    """
    singles = [
        (found[0], score)
        for found, score in zip(map(parse, mutants), scores.tolist(), strict=True)
        if len(found) == 1 and found[0].new in RESIDUES
    ]
    if not singles:
        raise UsageError("A heat map shows single mutants, but there is none.")
    first = min(one.position for one, _ in singles)
    table = np.full((len(RESIDUES), max(one.position for one, _ in singles) - first + 1), np.nan)
    for one, score in singles:
        table[RESIDUES.index(one.new), one.position - first] = score
        if one.old in RESIDUES:
            table[RESIDUES.index(one.old), one.position - first] = 0.0
    return table


def heat_map(mutants: Sequence[str], scores: NDArray[np.float64]) -> bytes:
    """The PNG. Colours are symmetric about 0, the wild type's score; a cell without a score is grey."""
    table = matrix(mutants, scores)
    most = float(np.nanmax(np.abs(table))) or 1.0
    share = np.clip(np.nan_to_num(table / most), -1, 1)[..., None]
    colours = np.where(share < 0, _SAME + (_WORSE - _SAME) * -share, _SAME + (_BETTER - _SAME) * share)
    colours = np.where(np.isnan(table)[..., None], _UNKNOWN, colours)
    return encode_png(np.rint(colours).astype(np.uint8).repeat(CELL, axis=0).repeat(CELL, axis=1))
