"""Golden figures of tissue: the recipe of the saturation and its patches, grey maskers, blank patches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab_slide.quality import is_black, is_white
from omlab_slide.tissue.clam import Preset, clam_corners, clam_outlines
from omlab_slide.tissue.grey import darker, grown, side_at
from omlab_slide.tissue.polygons import filled
from omlab_slide.tissue.saturation import saturated, saturation
from omlab_testkit.expected import Answer, difference

Case = Mapping[str, Any]
Pixels = NDArray[np.uint8]

ABOUT = {"opencv", "downsample", "patch_size", "step"}
_PICTURE = Path(__file__).parent / "golden" / "tissue_clam.json"


def answers(case: Case) -> dict[str, Answer]:
    """The parts of a file that are about tissue."""
    found: dict[str, Answer] = {"blank_patch": _blank}
    if "otsu" in case:
        found |= {"otsu": _otsu, "morphological": _morphological}
    if "image_sha256" in case:
        found |= {"image_sha256": _picture_digest, "saturation_sum": _saturation_sum, "cases": _cases}
    return found


def draw(case: Case) -> Pixels:
    """The overview that a file describes, else that of the file which it names."""
    described = case["image"]
    if isinstance(described, str):
        described = json.loads(_PICTURE.read_text(encoding="utf-8"))["image"]
    width, height, texture = described["width"], described["height"], described["texture"]
    y, x = np.mgrid[:height, :width]
    pixels = np.empty((height, width, 3), np.int64)
    pixels[:] = described["background"]
    for shape in described["shapes"]:
        pixels[_covered(shape, x, y)] = shape["colour"]
    noise = (31 * x + 17 * y + x * y) % (2 * texture + 1) - texture
    pixels += np.stack([noise, -noise, noise // 2], axis=2)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _covered(shape: Case, x: NDArray[np.int64], y: NDArray[np.int64]) -> NDArray[np.bool_]:
    if shape["kind"] == "rect":
        return (shape["x0"] <= x) & (x < shape["x1"]) & (shape["y0"] <= y) & (y < shape["y1"])
    a, b = shape["a"], shape["b"]
    return ((x - shape["cx"]) * b) ** 2 + ((y - shape["cy"]) * a) ** 2 <= (a * b) ** 2


def _picture_digest(part: str, case: Case) -> float:
    return difference(hashlib.sha256(draw(case).tobytes()).hexdigest(), part)


def _saturation_sum(part: int, case: Case) -> float:
    return difference(int(saturation(draw(case)).sum()), part)


def _cases(part: Sequence[Case], case: Case) -> float:
    pixels = draw(case)
    return max(difference(_case(row, pixels, case), {**row}) for row in part)


def _case(row: Case, pixels: Pixels, case: Case) -> dict[str, Any]:
    """What a row expects, by the names that it has."""
    given = row["params"]
    preset = Preset(
        threshold=given["sthresh"],
        median=given["mthresh"],
        closing=given["close"],
        least_area=given["a_t"],
        least_hole=given["a_h"],
        most_holes=given["max_n_holes"],
        is_otsu=given["use_otsu"],
    )
    levels = {"threshold": preset.threshold, "median": preset.median, "is_otsu": preset.is_otsu}
    over, used = saturated(pixels, closing=0, **levels)
    closed, _ = saturated(pixels, closing=preset.closing, **levels)
    scale = (case["downsample"],) * 2
    polygons = clam_outlines(pixels, scale=scale, preset=preset)
    found = {
        "preset": row["preset"],
        "params": given,
        "threshold": used,
        "pixels_over_threshold": int((over > 0).sum()),
        "pixels_after_close": int((closed > 0).sum()),
        "contours": len(polygons),
        "contour_area_level0": sorted((one.outer_area for one in polygons), reverse=True),
        "bounding_boxes_level0": sorted(list(one.box) for one in polygons),
        "holes_per_contour_area_level0": sorted(one.hole_areas for one in polygons),
        "filled_mask_pixels": int(filled(polygons, shape=pixels.shape[:2], scale=scale).sum()),
        "coords": {name: _corners(name, polygons, pixels, case) for name in row["coords"]},
    }
    return {name: value for name, value in found.items() if name in row}


def _corners(name: str, polygons: Any, pixels: Pixels, case: Case) -> dict[str, Any]:
    test, padding = name.rsplit("_", 1)
    found = clam_corners(
        polygons,
        dimensions=(pixels.shape[1] * case["downsample"], pixels.shape[0] * case["downsample"]),
        patch=case["patch_size"],
        step=case["step"],
        test=test,  # type: ignore[arg-type]  # a file names one of them
        pads=padding == "pad",
    )
    if not len(found):
        return {"count": 0}
    found = found[np.lexsort((found[:, 1], found[:, 0]))]
    return {
        "count": len(found),
        "sum_x": int(found[:, 0].sum()),
        "sum_y": int(found[:, 1].sum()),
        "sorted_first": found[0].tolist(),
        "sorted_last": found[-1].tolist(),
        "sha256_sorted_le_int64": hashlib.sha256(found.astype("<i8").tobytes()).hexdigest(),
    }


def _otsu(part: Case, case: Case) -> float:
    mask, threshold = darker(draw(case))
    return difference({"threshold": threshold, "pixels": int(mask.sum())}, part)


def _morphological(part: Sequence[Case], case: Case) -> float:
    mask, _ = darker(draw(case))
    found = []
    for row in part:
        side = side_at(row["mpp"])
        grew, least = grown(mask, side=side)
        found.append({"mpp": row["mpp"], "kernel": [side, side], "min_region": least, "pixels": int(grew.sum())})
    return difference(found, list(part))


def _blank(part: Case, case: Case) -> float:
    tests = {"white": is_white, "black": is_black}
    found = {}
    for name, row in part.items():
        patch = np.broadcast_to(np.array(row["rgb"], np.uint8), (8, 8, 3))
        found[name] = {"rgb": row["rgb"]}
        for key in row.keys() - {"rgb"}:
            test, threshold = key.split("_")
            found[name][key] = tests[test](patch, threshold=float(threshold))
    return difference(found, part)
