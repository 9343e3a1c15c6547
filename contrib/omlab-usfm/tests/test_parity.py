"""`parity.py` looks at every expectation of the file without a network, and names what it does not know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from omlab_testkit.expected import check_notices
from omlab_testkit.parity import load_file

TESTS = Path(__file__).resolve().parent
CHECK = load_file(TESTS / "parity.py").check
FILE: dict[str, Any] = json.loads((TESTS / "golden" / "algorithms.json").read_text())
IMAGE = {"out_mean", "out_std"}
EXPECTED = {
    "frequency_mask": {
        *IMAGE,
        "bands",
        "num_mask",
        "band_values",
        "band_zero_min_max_distance_count",
        "combined_mask_zero_count",
        "combined_mask_row_zero_counts",
        "combined_mask",
        "out_value",
    },
    "block_mask": {*IMAGE, "mask_count", "mask", "value"},
    "relative_table_interpolation": {
        "keys",
        "new_shape",
        "nan_count",
        "nan_rows",
        "mean",
        "std",
        "value",
        "ratio_q",
        "source_extent",
        "target_extent",
        "untransposed_value",
        "upstream_minus_untransposed_reference_max_abs",
        "upstream_equals_transposed_reference_max_abs",
    },
    "atm_loss": {"labels_present", "weights", "losses", "total"},
    "layer_decay": {"name", "lr", "lr_scale", "weight_decay", "params"},
    "lr_scaling": {"lr"},
    "seg_metrics": {"expected", "smooth"},
}


def test_the_file_without_a_network_is_answered() -> None:
    found = CHECK(FILE)
    assert len(found) == len(FILE)
    assert max(found.values()) < 2e-6


@pytest.mark.parametrize("part", sorted(EXPECTED))
def test_another_expectation_is_noticed(part: str) -> None:
    chosen = FILE[part]
    if part == "relative_table_interpolation":
        chosen = chosen[2:]  # the one with gaps; the others are of the same form
    elif part == "layer_decay":
        chosen = [{**chosen[0], "groups": chosen[0]["groups"][1:]}]  # then a group is missing, which is far already
        assert CHECK({part: chosen})[part] == 1
        chosen = FILE[part]
    elif part == "frequency_mask":
        chosen = chosen[:1]
    assert check_notices(CHECK, {part: chosen}, expected=EXPECTED[part])


def test_another_rate_is_noticed() -> None:
    case = {"cosine_schedule": json.loads(json.dumps(FILE["cosine_schedule"]))}
    before = CHECK(case)["cosine_schedule"]
    for row in case["cosine_schedule"][0]["rows"]:
        for group in range(2):
            row[1][group] *= 1.01
            assert CHECK(case)["cosine_schedule"] > before + 0.005
            row[1][group] /= 1.01


def test_a_part_that_is_not_known_is_named() -> None:
    with pytest.raises(KeyError, match="elastic"):
        CHECK(FILE | {"elastic": {}})
    with pytest.raises(KeyError, match="histogram"):
        CHECK({"block_mask": [FILE["block_mask"][0] | {"histogram": [1]}]})
