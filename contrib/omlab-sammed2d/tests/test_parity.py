"""`parity.py`: the file without a network, expectations that are looked at, cases of other sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from omlab_testkit import golden, parity
from omlab_testkit.expected import check_notices
from omlab_testkit.parity import load_file

TESTS = Path(__file__).resolve().parent
CASE: dict[str, Any] = json.loads((TESTS / "golden" / "algorithms.json").read_text())
CHECK = load_file(TESTS / "parity.py").check
EXPECTED = {
    "losses": {"focal", "dice", "mask_iou", "total"},
    "metrics": {"iou_per_mask", "dice_per_mask", "iou_positive_input"},
    "box_from_mask": {"ranges", "box", "three_boxes_no_noise", "evaluation_max_pixel_0"},
    "error_points": {"error_counts", "points_xy", "labels"},
    "first_points": {"points", "labels"},
    "mask_prompt": {"mask_inputs"},
    "nearest_resize": {"index"},
    "pad_or_resize": {"content_rows", "content_cols"},
    "intensity": {"normalised"},
    "postprocess": {"mean", "std", "absmax", "value"},
}


def test_the_file_without_a_network_is_answered() -> None:
    found = CHECK(CASE)
    assert found.keys() == EXPECTED.keys()
    assert max(found.values()) < 1e-5, found


@pytest.mark.parametrize("part", EXPECTED)
def test_another_expectation_is_noticed(part: str) -> None:
    names = EXPECTED[part]
    assert check_notices(CHECK, {part: CASE[part]}, expected=names) >= len(names)


def test_a_part_that_is_not_known_is_named() -> None:
    with pytest.raises(KeyError, match="growing"):
        CHECK(CASE | {"growing": {}})
    with pytest.raises(KeyError, match="hausdorff"):
        CHECK({"losses": CASE["losses"] | {"hausdorff": 1.0}})


def test_a_network_of_another_size_has_all_outputs() -> None:
    case = json.loads((TESTS / "golden" / "vit_b_depth3_adapter_256.json").read_text())
    case["build"] |= {"image_size": 96, "embed_dim": 24, "num_heads": 2, "window_size": 4, "out_chans": 16}
    case["inputs"]["image"]["shape"] = [1, 3, 96, 96]
    case["inputs"]["mask_input"]["shape"] = [1, 1, 24, 24]
    answers = parity.load_parity(TESTS)
    module = answers.build(case)
    for parameter in (*module.parameters(), *module.buffers()):
        parameter.data.normal_(std=0.1)
    found = answers.run(module, case, golden.draw_inputs(case))
    assert set(case["outputs"]) <= set(found)
    assert found["block0_attn"].shape == (4, 4, 4, 24)
    assert found["mask_best_upsampled"].shape == (1, 1, 96, 96)
