"""`parity.py`: files without a network, cases of other sizes, and expectations that are looked at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from omlab_testkit import golden, parity
from omlab_testkit.expected import check_notices
from omlab_testkit.parity import load_file

TESTS = Path(__file__).resolve().parent
CASE: dict[str, Any] = json.loads((TESTS / "golden" / "algorithms.json").read_text())
CHECK = load_file(TESTS / "parity.py").check
EXPECTED = {
    "dice_ce_loss": {"dice_part", "total", "bce_part"},
    "click_training": {"error_voxels", "point", "label"},
    "click_inference": {"point", "label"},
    "click_ritm": {"candidates", "first", "label"},
    "crop_to_label": {"padding", "cropping", "label_box_after"},
    "z_normalise": {"mean", "std", "output_first8"},
    "sliding_window": {"padding", "cropping", "volume_region", "window_region"},
}


def test_the_file_without_a_network_is_answered() -> None:
    found = CHECK(CASE)
    assert found.keys() == EXPECTED.keys()
    assert max(found.values()) < 1e-5


@pytest.mark.parametrize("part", EXPECTED)
def test_another_expectation_is_noticed(part: str) -> None:
    case = {name: CASE[name] for name in (part, "click_training")}
    if part == "sliding_window":
        case[part] = {"cases": [{**row, "windows": row["windows"][::9]} for row in CASE[part]["cases"]]}
    names = EXPECTED[part]
    assert check_notices(CHECK, {part: case[part], **case}, expected=names) >= len(names)


def test_a_part_that_is_not_known_is_named() -> None:
    with pytest.raises(KeyError, match="growing"):
        CHECK(CASE | {"growing": {}})
    with pytest.raises(KeyError, match="hausdorff"):
        CHECK({"dice_ce_loss": CASE["dice_ce_loss"] | {"hausdorff": 1.0}})


@pytest.mark.parametrize(
    ("window", "grid", "rows"),
    [(0, (4, 4, 4), (15, 15, 15)), (0, (9, 9, 9), (15, 3, 8)), (5, (4, 7, 6), (13, 9, 1)), (3, (5, 5, 5), (5, 5, 5))],
)
def test_blocks_take_tables_of_another_length(
    window: int, grid: tuple[int, int, int], rows: tuple[int, int, int]
) -> None:
    case = json.loads((TESTS / "golden" / "block_global_8x8x8.json").read_text())
    case["build"] |= {"dim": 24, "num_heads": 2, "window_size": window, "grid": list(grid)}
    case["inputs"]["tokens"]["shape"] = [2, *grid, 24]
    sizes = {"attn.rel_pos_d": [rows[0], 12], "attn.rel_pos_h": [rows[1], 12], "attn.rel_pos_w": [rows[2], 12]}
    case["state"] = [
        [key, sizes.get(key, [n * 24 // 128 for n in shape]), dtype, role] for key, shape, dtype, role in case["state"]
    ]
    answers = parity.load_parity(TESTS)
    module = answers.build(case)
    golden.check_keys(case, module)
    golden.load_drawn(case, module)
    found = answers.run(module, case, golden.draw_inputs(case))
    assert set(found) == set(case["outputs"])
    attended, padded = found["attn"], found["attn_windows"]
    side = window or grid[0]
    assert padded.shape[1:] == (side, side, side, 24)
    corner = [min(side, n) for n in grid]
    torch.testing.assert_close(
        attended[:, : corner[0], : corner[1], : corner[2]],
        padded.unflatten(0, (2, -1))[:, 0, : corner[0], : corner[1], : corner[2]],
        rtol=1e-4,
        atol=1e-5,
    )


def test_resized_tables_are_the_written_out_interpolation() -> None:
    """Row r of R of a table with N rows lies at (r + 1/2) N / R - 1/2, held at the ends."""
    case = json.loads((TESTS / "golden" / "block_global_8x8x8.json").read_text())
    case["build"]["grid"] = [3, 3, 3]
    module = parity.load_parity(TESTS).build(case)
    golden.load_drawn(case, module)
    table = module.attn.rel_pos_d.detach().double()  # type: ignore[union-attr]
    at = ((torch.arange(5).double() + 0.5) * 15 / 5 - 0.5).clamp(0, 14)
    low = at.floor().long().clamp(max=13)
    wanted = table[low] + (at - low)[:, None] * (table[low + 1] - table[low])
    torch.testing.assert_close(module.attn.tables((3, 3, 3))[0].double(), wanted, rtol=1e-5, atol=1e-6)  # type: ignore
