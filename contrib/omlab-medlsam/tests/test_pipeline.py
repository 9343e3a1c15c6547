"""MedLSAM: boxes go to a segmenter, which is a session of any model that takes boxes in volumes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from omlab.errors import UsageError
from omlab.payloads import Inputs
from omlab.session import Session
from omlab_medlsam.localiser import Placed
from omlab_medlsam.network import MedLamConfig, untrained
from omlab_medlsam.pipeline import MedLsam, prompts_of
from omlab_medlsam.supports import LoadedScan, Support
from omlab_testkit.stand_ins import session
from omlab_volume.testing import example_labelmaps, example_volumes
from omlab_volume.volume import LabelMap

DOES: dict[str, Any] = {
    "predict": {
        "takes": {"volume": "volume", "prompts": "prompts"},
        "accepts": {"prompts": ["boxes"]},
        "gives": "labelmap",
        "grid": "volume",
    }
}
NARROW = MedLamConfig(base_channels=1, patch=(32, 32, 32))
OPTIONS: dict[str, Any] = {"slice_interval": 0, "refine": True, "seed": 0, "margin": 0.0}


class FillsBoxes:
    """A segmenter that takes all of a box."""

    def predict(self, batch: Sequence[Inputs], /) -> Iterator[LabelMap]:
        for inputs in batch:
            volume: Any = inputs["volume"]
            prompts: Any = inputs["prompts"]
            array = np.zeros(volume.grid.shape, np.uint8)
            for value, entry in enumerate(prompts.objects, start=1):
                for box in entry.boxes:
                    low, high = (np.array(at, int) for at in (box.near, box.far))
                    array[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))] = value
            structures = {entry.name: {"margin": 0.5} for entry in prompts.objects}
            yield LabelMap(array=array, affine=volume.affine, facts={"structures": structures})


def _support(labels: Sequence[int]) -> Support:
    """Scans whose structures have other values."""
    table = np.array([0, *labels], np.uint8)
    scans = []
    for n in (0, 2):
        known = example_labelmaps()[n]
        labelmap = LabelMap(array=table[known.array], affine=known.affine)
        scans.append(LoadedScan(name=f"scan {n}", image=example_volumes()[n], labels=labelmap))
    return Support(scans=tuple(scans))


@pytest.mark.parametrize("slice_interval", [0, 2])
def test_structures_have_the_labels_of_the_support(slice_interval: int) -> None:
    model = MedLsam(untrained(NARROW), segmenter=session(FillsBoxes(), does=DOES), batch_size=4, device="cpu")
    inputs = {"volume": example_volumes()[1], "support": _support([7, 3])}
    query = model.prepare("predict", inputs, **OPTIONS)
    (found,) = model.predict([query], **{**OPTIONS, "slice_interval": slice_interval})
    assert isinstance(found, LabelMap)
    assert found.same_grid(example_volumes()[1])
    assert set(np.unique(found.array)) <= {0, 3, 7}
    assert [(label.value, label.name) for label in found.labels] == [(3, "label 3"), (7, "label 7")]
    for told in found.facts["structures"].values():
        assert told["margin"] == 0.5
        assert -1 <= told["likeness"] <= 1
    (boxes,) = model.localise([query], slice_interval=slice_interval, refine=True, seed=0)
    inside = np.zeros(found.array.shape, bool)
    for box in boxes.boxes:  # type: ignore[union-attr]
        low, high = (np.array(at) for at in (np.add(box.near, 0.5), np.add(box.far, 0.5)))
        inside[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))] = True
    np.testing.assert_array_equal(found.array > 0, inside)


def test_boxes_are_widened_within_axial_slices() -> None:
    volume = example_volumes()[1]  # its axes are stored in another order
    corners = np.array([[[5, 6, 7], [8, 9, 9]]])
    placed = [Placed(value=n, name="rib", corners=corners, likeness=None) for n in (4, 5)]
    prompts = prompts_of(placed, volume, margin=0.1)
    assert [entry.name for entry in prompts.objects] == ["rib (4)", "rib (5)"]
    across = int(np.abs(volume.affine[2, :3]).argmax())
    wider = np.round(0.1 * np.array(volume.grid.shape))
    wider[across] = 0
    (box,) = prompts.objects[0].boxes
    np.testing.assert_array_equal(box.near, corners[0, 0] - wider)
    np.testing.assert_array_equal(box.far, corners[0, 1] + wider)


@pytest.mark.parametrize(
    "change", [{"accepts": {"prompts": ["points"]}}, {"takes": {"image": "image", "prompts": "prompts"}, "grid": None}]
)
def test_a_segmenter_that_takes_no_boxes_in_volumes_is_refused(change: dict[str, Any]) -> None:
    other: Session = session(FillsBoxes(), does={"predict": {**DOES["predict"], **change}})
    with pytest.raises(UsageError, match="'stand-in' cannot be the segmenter of MedLSAM"):
        MedLsam(untrained(NARROW), segmenter=other, batch_size=4, device="cpu")
