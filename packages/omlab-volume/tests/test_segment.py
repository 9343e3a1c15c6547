import warnings
from itertools import permutations, product

import numpy as np
import pytest
import torch
from torch import nn

from omlab.errors import InputError, OmlabWarning
from omlab_volume.inference.preprocess import Plan
from omlab_volume.inference.segment import segment
from omlab_volume.volume import Label, LabelMap, Source, Volume

LABELS = (Label(value=1, name="bright"), Label(value=2, name="middle"))
PLAN = Plan(spacing=(1.5, 1.5, 1.5), patch_size=(8, 8, 8))
TURNS = [(axes, flips) for axes in permutations(range(3)) for flips in product((1, -1), repeat=3)]


class Thresholds(nn.Module):
    """Classes by the normalised intensity; a ramp along the window makes an orientation mistake visible."""

    def forward(self, image):
        ramp = torch.linspace(0, 1, image.shape[-1]).expand_as(image)
        return torch.cat([torch.zeros_like(image), 4 * image - 2 + ramp, 1 - 4 * image.abs()], dim=1)


def phantom(*, tilt=0.2):
    rng = np.random.default_rng(0)
    array = np.zeros((1, 14, 11, 9), np.float32)
    array[:, 2:13, 1:9, 2:8] = 10 + rng.normal(size=(11, 8, 6))
    array[:, 4:8, 3:7, 3:6] += 6
    rotation = np.array([[np.cos(tilt), -np.sin(tilt), 0], [np.sin(tilt), np.cos(tilt), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = rotation * (1.2, 1.7, 2.2)
    affine[:3, 3] = (-30, 12, 7)
    return Volume(array=array, affine=affine)


def turned(volume, axes, flips):
    """The same voxels in space with the array's axes permuted and flipped."""
    steps = tuple(slice(None, None, sign) for sign in flips)
    array = volume.array.transpose(0, *(axis + 1 for axis in axes))[(slice(None), *steps)]
    back = np.zeros((4, 4))
    back[3, 3] = 1
    for axis, (source, sign) in enumerate(zip(axes, flips, strict=True)):
        back[source, axis] = sign
        back[source, 3] = 0 if sign > 0 else volume.array.shape[source + 1] - 1
    return Volume(array=np.ascontiguousarray(array), affine=volume.affine @ back)


def test_axes_and_flips_change_nothing_in_space():
    volume = phantom()
    expected = segment(Thresholds(), volume, plan=PLAN, labels=LABELS, mirror=False).array
    assert set(np.unique(expected)) == {0, 1, 2}
    for axes, flips in TURNS:
        image = turned(volume, axes, flips)
        got = segment(Thresholds(), image, plan=PLAN, labels=LABELS, mirror=False)
        assert got.same_grid(image)
        same = expected.transpose(axes)[tuple(slice(None, None, sign) for sign in flips)]
        assert (got.array == same).all()


def test_the_result_lies_where_the_structure_is():
    volume = phantom()
    source = Source(format="nifti", paths=())
    result = segment(
        lambda image: torch.cat([torch.zeros_like(image), image - 1], dim=1),
        Volume(array=volume.array, affine=volume.affine, source=source),
        plan=PLAN,
        labels=LABELS[:1],
    )
    assert isinstance(result, LabelMap)
    assert result.labels == LABELS[:1]
    assert result.source is source
    structure = np.zeros(volume.array.shape[1:], bool)
    structure[4:8, 3:7, 3:6] = True
    found = result.array == 1
    assert 2 * (found & structure).sum() / (found.sum() + structure.sum()) > 0.8
    assert not result.array[:2].any()


@pytest.mark.parametrize("combine", ["probabilities", "logits"])
@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((9, 8, 1), (1.0, 1.0, 5.0)),
        ((1, 1, 1), (1.0, 1.0, 1.0)),
        ((3, 30, 2), (0.5, 0.5, 0.5)),
        ((20, 20, 4), (0.8, 0.8, 6.0)),
        ((2, 2, 2), (0.01, 0.01, 30.0)),
    ],
)
def test_odd_shapes_and_spacings(shape, spacing, combine):
    array = np.random.default_rng(0).random((1, *shape)) + 1
    array[0, 0, 0, 0] = np.nan
    volume = Volume(array=array, affine=np.diag([*spacing, 1.0]))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A volume shows nothing", OmlabWarning)
        result = segment(Thresholds(), volume, plan=PLAN, labels=LABELS, mirror=False, combine=combine)
    assert result.same_grid(volume)


@pytest.mark.parametrize("value", [0, -1000, np.nan])
def test_images_without_contrast(value):
    volume = Volume(array=np.full((1, 5, 6, 7), float(value)), affine=np.eye(4))
    with pytest.warns(OmlabWarning, match="shows nothing"):
        assert segment(Thresholds(), volume, plan=PLAN, labels=LABELS, mirror=False).same_grid(volume)


def test_the_channels_are_checked():
    with pytest.raises(InputError, match=r"takes 2 channel.* has 1"):
        segment(Thresholds(), phantom(), plan=PLAN, labels=LABELS, channels=2)
