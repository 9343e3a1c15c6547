"""Cubes beside the first one lie where those of the sliding window that upstream removed lay."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omlab_sammed3d.windows import Window, crop_start

RECORDED = json.loads((Path(__file__).parent / "golden" / "algorithms.json").read_text())["sliding_window"]["cases"]


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: "x".join(map(str, case["shape"])))
def test_moved_cubes_show_what_the_recorded_windows_show(case: dict[str, Any]) -> None:
    low, stop = np.array(case["label_box"]).T
    middle = Window(first=crop_start(low, stop - 1, side=128).astype(float), ratio=np.ones(3), side=128)
    for recorded in case["windows"]:
        window = middle.moved(np.array(recorded["offset"]))
        region = window.reach(tuple(case["shape"]))
        cropped = [n for part, size in zip(region, case["shape"], strict=True) for n in (part.start, size - part.stop)]
        assert cropped == recorded["cropping"]
        ends = window.first + 128 - case["shape"]
        padded = [max(0, int(n)) for pair in zip(-window.first, ends, strict=True) for n in pair]
        assert padded == recorded["padding"]
