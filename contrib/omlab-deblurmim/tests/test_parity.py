"""`parity.py` looks at every expectation of the files without a network, and names what it does not know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from omlab_testkit.expected import check_notices
from omlab_testkit.parity import load_file

TESTS = Path(__file__).resolve().parent
CHECK = load_file(TESTS / "parity.py").check
FILES: dict[str, dict[str, Any]] = {
    name: json.loads((TESTS / "golden" / f"{name}.json").read_text()) for name in ("algorithms", "blur")
}
EXPECTED = {
    "seg": {"dice_loss", "batch_fscore", "batch_iou", "per_image"},
    "layer_decay": {"lr_scale", "weight_decay", "params"},
    "sincos": {"shape", "sum", "value"},
    "kernel_sigma_1.1": {"kernel_sigma_1.1"},
    "mask_expansion": {"mask_expansion"},
}


def test_files_without_a_network_are_answered() -> None:
    for name, parts in (("algorithms", 4), ("blur", 2)):
        found = CHECK(FILES[name])
        assert len(found) == parts
        assert max(found.values()) < 2e-6


@pytest.mark.parametrize("part", sorted(EXPECTED))
def test_another_expectation_is_noticed(part: str) -> None:
    case = FILES["algorithms" if part in FILES["algorithms"] else "blur"]
    if part == "mask_expansion":
        assert CHECK({part: "repeated 2x2 and 4x4"})[part] == 1
    else:
        assert check_notices(CHECK, {part: case[part]}, expected=EXPECTED[part])


BLURS = ["gaussian_sigma_1.1", "gaussian_sigma_0.5", "mean_5x5", "median_5", "defocus_r5_alias0.01"]


@pytest.mark.parametrize("name", BLURS)
def test_another_grey_level_is_noticed(name: str) -> None:
    case = json.loads(json.dumps(FILES["blur"]))
    row = case["cases"][0]
    row[name][3][4] += 3
    assert CHECK({"cases": [row]})["cases"] > 0.01


def test_a_part_that_is_not_known_is_named() -> None:
    with pytest.raises(KeyError, match="elastic"):
        CHECK(FILES["algorithms"] | {"elastic": {}})
    with pytest.raises(KeyError, match="bilateral"):
        CHECK({"cases": [FILES["blur"]["cases"][0] | {"bilateral_3": [[1]]}]})
