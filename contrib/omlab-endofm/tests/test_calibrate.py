"""Masks of clips tell a calibrated confidence."""

from __future__ import annotations

from pathlib import Path

import pytest

import omlab
from omlab_testkit.parity import load_file

TINY = load_file(Path(__file__).with_name("tiny_data.py"))

pytestmark = pytest.mark.filterwarnings("ignore:The weights of:omlab.errors.OmlabWarning")


def test_masks_of_a_calibrated_model_tell_their_confidence(tmp_path: Path) -> None:
    root = TINY.WRITERS["cvc"](tmp_path / "data")
    settings, folder = {"split": "train"}, tmp_path / "calibrated"
    omlab.adapt("endofm-segment-tiny", "cvc", root=root, adapter="calibrate", output=folder, settings=settings)
    session = omlab.load_model(folder)
    data = omlab.load_dataset("cvc", root=root)
    sample = data.cases("test")[0].load()
    told = session.predict(sample.inputs["clip"]).tells()
    assert 0 <= told["structures"]["polyp"]["confidence"] <= 1
    assert told["calibration"]["cases"] == len(data.cases("train"))
