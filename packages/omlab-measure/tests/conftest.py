"""Label maps and images that the tests share."""

from pathlib import Path

import numpy as np
import pytest

from omlab_testkit.at_work import omlab_command
from omlab_volume.io.nifti import Nifti
from omlab_volume.volume import Code, Label, LabelMap, Volume

AFFINE = np.array([[0.9, 0, 0, -30], [0, 0.8, 0, -25], [0, 0, 2.5, 10], [0, 0, 0, 1]], dtype=float)
LABELS = (
    Label(value=1, name="liver", code=Code(value="10200004", scheme="SCT", meaning="Liver")),
    Label(value=3, name="=spleen"),
)


def drawn(shift=0):
    """Two ellipsoids, and an image on their grid."""
    i, j, k = np.indices((30, 26, 14)).astype(float)
    array = np.zeros((30, 26, 14), np.uint8)
    array[((i - 11 - shift) / 7) ** 2 + ((j - 13) / 5) ** 2 + ((k - 6) / 5) ** 2 < 1] = 1
    array[((i - 25) / 3) ** 2 + ((j - 12) / 4) ** 2 + ((k - 9) / 6) ** 2 < 1] = 3
    values = (100.0 * (array == 1) + 40.0 * (array == 3) + i - 20).astype(np.float32)
    labelmap = LabelMap(array=array, affine=AFFINE, labels=LABELS)
    return labelmap, Volume(array=values[None], affine=AFFINE, intensity="hu")


@pytest.fixture
def draw():
    """Draws a label map and its image; the first structure is moved by a number of voxels."""
    return drawn


@pytest.fixture
def files(tmp_path, monkeypatch):
    """`segs/a.nii.gz`, `segs/b.nii.gz` and images of the same names, in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    for shift, name in enumerate("ab"):
        for folder, payload in zip(("segs", "images"), drawn(shift), strict=True):
            Path(folder).mkdir(exist_ok=True)
            Nifti().write(payload, Path(folder) / f"{name}.nii.gz", inputs={})
    return tmp_path


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run `omlab` in a folder of its own; returns (status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMLAB_CACHE", str(tmp_path / "cache"))
    return omlab_command(monkeypatch, capsys, columns=100)
