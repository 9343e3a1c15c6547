"""Volumes slice by slice: what is shown, where objects are carried, how volumes may be stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import omlab
from omlab.errors import InputError, UsageError
from omlab_prompts.prompts import Box, Object, Point, Prompts
from omlab_prompts.testing import prompts_for
from omlab_sam.network import Sam
from omlab_sam.rounds import Answered, Asked
from omlab_sammed2d.predictor import Segmenter
from omlab_sammed2d.slices import Slices
from omlab_sammed2d.volumes import VolumePredictor
from omlab_volume.testing import VolumeMotions, example_grids, example_labelmaps, example_volumes
from omlab_volume.volume import Volume

SIDE = 64


class Bright(Segmenter):
    """Finds the bright pixels in a box or around points, and notes what it was asked."""

    def __init__(self) -> None:
        shape: dict[str, Any] = {"embed_dim": 16, "depth": 1, "num_heads": 2, "global_attn_indexes": (0,)}
        super().__init__(Sam(image_size=SIDE, patch_size=4, out_chans=16, **shape).eval())
        self.encoded = 0
        self.asked: list[Asked] = []

    def encode(self, images: Sequence[NDArray[Any]]) -> list[Tensor]:
        self.encoded += len(images)
        return [self.frame(one.shape[:2]).image(one, order="bgr")[None, :1] for one in images]

    def answer(self, embeddings: Sequence[Tensor], asked: Sequence[Asked]) -> Answered:
        self.asked += asked
        masks = [_bright(image[0, 0], one) for image, one in zip(embeddings, asked, strict=True)]
        return Answered(torch.stack(masks), torch.full((len(masks),), 0.75))


def _bright(image: Tensor, asked: Asked) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    near = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    if asked.box is not None:
        x0, y0, x1, y1 = asked.box.tolist()
        near |= (columns >= x0 - 5) & (columns <= x1 + 5) & (rows >= y0 - 5) & (rows <= y1 + 5)
    for (x, y), label in zip(asked.points.tolist(), asked.labels.tolist(), strict=True):
        close = (columns - x) ** 2 + (rows - y) ** 2 < 15**2
        near = near | close if label else near & ~close
    return torch.where((image > 0) & near, 5.0, -5.0)


def tube() -> Volume:
    """32 x 32 x 12 voxels; a bright square that drifts along z, on slices 2 to 9."""
    array = np.zeros((1, 32, 32, 12), np.float32)
    for k in range(2, 10):
        array[0, 8 + k : 14 + k, 10:16, k] = 100
    return Volume(array=array, affine=np.diag([1.0, 1.0, 3.0, 1.0]))


def asked(**what: Any) -> Prompts:
    return Prompts(space="voxel", image="tube", objects=(Object(name="tube", **what),))


def test_a_click_on_one_slice_is_carried_until_the_object_ends() -> None:
    volume, segmenter = tube(), Bright()
    found = VolumePredictor(segmenter).predict(volume, asked(points=(Point(at=(15, 12, 4)),)))
    np.testing.assert_array_equal(found.array, volume.array[0] > 0)
    assert found.same_grid(volume)
    assert segmenter.encoded == 10  # slices 1 to 10, once each: those beside the ends had to be looked at
    told = found.facts["structures"]["tube"]
    assert told["ml"] == pytest.approx(8 * 36 * 3 / 1000)
    assert told["margin"] == pytest.approx(np.tanh(2.5), abs=1e-4)  # logits of 5 and -5
    assert told["predicted_iou"] == 0.75
    carried = segmenter.asked[1:]
    assert all(one.box is not None and one.mask is not None for one in carried)


def test_a_box_of_several_slices_is_a_box_on_each_and_no_more() -> None:
    volume, segmenter = tube(), Bright()
    box = Box(near=(8, 8, 4), far=(25, 20, 6))
    found = VolumePredictor(segmenter).predict(volume, asked(boxes=(box,)))
    truth = volume.array[0] > 0
    truth[:, :, :4] = truth[:, :, 7:] = False
    np.testing.assert_array_equal(found.array, truth)
    assert segmenter.encoded == 3
    assert len(segmenter.asked) == 3


def test_between_two_prompted_slices_each_is_carried_half_the_way() -> None:
    volume, segmenter = tube(), Bright()
    predictor = VolumePredictor(segmenter)
    points = (Point(at=(13, 12, 3)), Point(at=(18, 12, 8)))
    found = predictor.predict(volume, asked(points=points))
    np.testing.assert_array_equal(found.array, volume.array[0] > 0)
    assert len(segmenter.asked) == 10  # two prompted slices, 4 5 and 6 7 between them, 2 1 and 9 10 beyond
    predictor.predict(volume, asked(points=points[:1]))
    assert segmenter.encoded == 10  # none a second time


def test_a_click_outside_on_a_carried_slice_is_heeded() -> None:
    volume, segmenter = tube(), Bright()
    points = (Point(at=(15, 12, 4)), Point(at=(17, 13, 7), label=0))
    found = VolumePredictor(segmenter).predict(volume, asked(points=points))
    assert not found.array[:, :, 7:].any()
    assert found.array[:, :, 2:7].any(axis=(0, 1)).all()


@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
def test_positions_are_where_the_pixels_are_shown(axis: Any) -> None:
    for grid in example_grids():
        array = np.zeros((1, *grid.shape), np.float32)
        array[0, 3, 5, 7] = 1
        slices = Slices(Volume(array=array, affine=grid.affine), axis=axis)
        ((number, row, column),) = np.argwhere(slices.shown(array[0]))
        voxel = np.array([[3.0, 5.0, 7.0]])
        assert slices.places(voxel).tolist() == [[number, column, row]]
        np.testing.assert_array_equal(slices.voxels(slices.places(voxel)), voxel)
        np.testing.assert_array_equal(slices.hidden(slices.shown(array[0])), array[0])


def test_slices_are_shown_in_the_radiological_way_across_the_largest_spacing() -> None:
    array = np.zeros((1, 4, 5, 6), np.float32)
    array[0, 3, 4, 2] = 7  # to the right, anterior
    slices = Slices(Volume(array=array, affine=np.diag([1.0, 1, 1, 1])))
    assert (slices.axis, slices.shape) == ("axial", (6, 5, 4))
    assert slices.shown(array[0])[2, 0, 0] == 7
    assert Slices(Volume(array=array, affine=np.diag([1.0, 2, 1, 1]))).axis == "coronal"


def test_storage_and_place_of_a_volume_change_nothing() -> None:
    session = omlab.load_model("sammed2d-tiny-volume.untrained", device="cpu")
    volume, target = example_volumes()[0], example_labelmaps()[0]
    motions = VolumeMotions().motions(volume, target)
    for what in ("another origin", "axes stored in another order"):
        motion = motions[what]
        every = prompts_for(motion.payload, motion.target)
        bare = tuple(entry.model_copy(update={"text": ()}) for entry in every.objects)
        here = every.model_copy(update={"objects": bare})
        there = here.moved(motion.voxels, space="voxel", image=here.image)
        before = session.predict(volume=motion.payload, prompts=here)
        after = session.predict(volume=motion.moved, prompts=there)
        np.testing.assert_array_equal(after.array, motion.array(before.array))  # type: ignore[attr-defined]


def test_what_cannot_be_used_is_one_sentence() -> None:
    volume = tube()
    with pytest.raises(UsageError, match="'tube' has neither a box nor a click in it"):
        VolumePredictor(Bright()).predict(volume, asked(points=(Point(at=(1, 1, 1), label=0),)))
    with pytest.raises(InputError, match="2 channels"):
        Slices(Volume(array=np.zeros((2, 4, 4, 4)), affine=np.eye(4)))
    with pytest.raises(InputError, match="NaN"):
        Slices(Volume(array=np.full((1, 4, 4, 4), np.nan), affine=np.eye(4)))


def test_a_window_says_what_is_black_and_white() -> None:
    array = np.linspace(-1000, 1000, 64, dtype=np.float32).reshape(1, 4, 4, 4)
    volume = Volume(array=array, affine=np.eye(4), intensity="hu")
    for slices, low, high in ((Slices(volume), -160, 240), (Slices(volume, window=[0, 100]), -50, 50)):
        shown = np.stack([slices.pixels(n) for n in range(4)])
        np.testing.assert_array_equal(shown == 0, slices.shown(array[0]) <= low + (high - low) / 510)
        assert shown.max() == 255
