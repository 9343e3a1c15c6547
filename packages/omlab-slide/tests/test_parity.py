"""That `check` of `parity.py` would notice another expectation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from omlab_testkit.expected import check_notices
from omlab_testkit.parity import load_file

HERE = Path(__file__).parent
PARITY = load_file(HERE / "parity.py")


def case(name):
    return json.loads((HERE / "golden" / f"{name}.json").read_text())


def test_every_expectation_about_grey_tissue_counts():
    assert check_notices(PARITY.check, case("tissue_otsu_grey"), expected=("otsu", "pixels", "min_region")) == 8


def test_every_expectation_about_published_tissue_counts():
    whole = case("tissue_clam")
    whole["cases"] = [row for row in whole["cases"] if row["preset"] == "tcga"]
    names = ("contours", "contour_area_level0", "bounding_boxes_level0", "filled_mask_pixels", "image_sha256", "count")
    assert check_notices(PARITY.check, whole, expected=names) > 15


def test_a_part_that_is_not_known_is_refused():
    with pytest.raises(KeyError, match="more"):
        PARITY.check({**case("tissue_otsu_grey"), "more": 1})
