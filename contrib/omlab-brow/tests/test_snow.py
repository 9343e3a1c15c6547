"""SNOW is read in both forms, and what is wrong with it is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat  # type: ignore[import-untyped]

import omlab
from omlab.errors import InputError
from omlab_brow.snow.dataset import Snow
from omlab_image import LabelMap2D
from omlab_testkit.parity import load_file

TINY = load_file(Path(__file__).with_name("tiny.py"))


@pytest.mark.parametrize("unpacked", [False, True])
def test_tiles_are_paired_with_their_masks(tmp_path: Path, unpacked: bool) -> None:
    data = Snow(TINY.write_snow(tmp_path, unpacked=unpacked), val=0.25, seed=0)
    data.prepare()
    assert {split: len(data.cases(split)) for split in data.splits()} == {"train": 6, "val": 2}
    assert not data.verify()
    ids = sorted(case.id for split in data.splits() for case in data.cases(split))
    assert ids == sorted(TINY.NAMES)
    for case in data.cases("train"):
        sample = case.load()
        assert isinstance(sample.target, LabelMap2D)
        assert sample.target.present() == {1: "nucleus"}
        picture = omlab.take(sample.inputs, "image", type(sample.inputs["image"]))
        dark = np.asarray(picture.array)[..., 1] < 120  # type: ignore[attr-defined]
        assert (dark == (sample.target.array > 0)).all()


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There are no pictures \(\.png\) of SNOW below"):
        Snow(tmp_path, val=0.05, seed=0).prepare()
    root = TINY.write_snow(tmp_path)
    masks = root / "SNOW_Dataset_20k" / "Mask"
    (masks / "seed0003.mat").unlink()
    (masks / "seed0004.mat").write_bytes(b"MATLAB 5.0" + bytes(200))
    savemat(masks / "seed0005.mat", {"a": np.ones((4, 4), np.int32), "b": np.ones((4, 4), np.int32)})
    problems = " ".join(Snow(root, val=0.05, seed=0).verify())
    assert "1 files are missing: seed0003.mat." in problems
    assert "seed0004.mat cannot be read as a MATLAB file" in problems
    assert "seed0005.mat has no 'inst_map', and not one other map of whole numbers: it has a, b." in problems
