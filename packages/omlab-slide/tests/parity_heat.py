"""How this package answers golden numbers of heat maps; `parity.py` passes them on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from omlab_slide.heat.cells import raster
from omlab_slide.heat.ranks import percentiles
from omlab_testkit.expected import Answer, difference

Case = Mapping[str, Any]
_ROW = 8
"""The row that the file keeps."""


def _percentiles(part: Case, case: Case) -> float:
    return difference(percentiles(part["scores"]), part["expected"])


def _heatmap(part: Case, case: Case) -> float:
    width, height = part["canvas"]
    found = raster(
        part["scores"],
        part["coords_level0"],
        size0=part["patch_level0"],
        downsample=part["downsample"],
        canvas=(width, height),
    )
    mean = np.where(found.covered, found.mean, 0.0)
    answers = {
        "expected_row8": mean[_ROW],
        "expected_sum": mean.sum(),
        "covered_pixels": found.covered.sum(),
        "max_overlap": found.count.max(),
        "image_floor255_sum": np.where(found.covered, np.floor(mean * 255), 255).sum(),  # on a white canvas
    }
    wanted = {name: part[name] for name in answers if name in part}
    return difference({name: answers[name] for name in wanted}, wanted)


ABOUT: set[str] = set()
"""What in such files is no part."""
EXPECTED = ("expected", "expected_row8", "expected_sum", "covered_pixels", "max_overlap", "image_floor255_sum")
"""What in these parts are expectations."""


def answers(case: Case) -> dict[str, Answer]:
    """By part of a file, how it is answered."""
    return {"percentiles": _percentiles, "heatmap": _heatmap}
