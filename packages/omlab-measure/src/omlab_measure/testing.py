"""Example measurements for the test kit."""

from __future__ import annotations

import numpy as np

from omlab_measure.measurements import Measurements
from omlab_measure.measuring import measure
from omlab_measure.structures import Structure
from omlab_volume.volume import Code, Label, LabelMap, Volume


def example_measurements() -> list[Measurements]:
    """Of two boxes, with and without an image."""
    array = np.zeros((9, 8, 7), dtype=np.uint8)
    array[1:5, 2:6, 1:4] = 1
    array[6:8, 1:7, 4:6] = 3
    affine = np.diag([0.8, 0.9, 2.5, 1.0])
    code = Code(value="10200004", scheme="SCT", meaning="Liver")
    labelmap = LabelMap(array=array, affine=affine, labels=(Label(value=1, name="liver", code=code),))
    image = Volume(
        array=np.arange(array.size, dtype=np.float32).reshape(1, *array.shape), affine=affine, intensity="hu"
    )
    return [measure(labelmap, image), measure(labelmap)]


def odd_measurements() -> dict[str, Measurements]:
    """None at all, a structure of one voxel, a name that a spreadsheet would run, figures that are not defined."""
    array = np.zeros((3, 3, 3), dtype=np.uint8)
    array[1, 1, 1] = 1
    named = Structure(value=7, name="=1+1", figures={"volume_ml": 1e-9, "elongation": None})
    return {
        "none": Measurements(structures=()),
        "one-voxel": measure(LabelMap(array=array, affine=np.eye(4))),
        "odd-name": Measurements(structures=[named]),
    }
