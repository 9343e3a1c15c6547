"""The gate of big volumes: good ones are left alone, planted failures told, and never all voxels are read."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from omlab_volume.big.payloads import BigVolume
from omlab_volume.big.voxels import Held
from omlab_volume.gate.big import check, looked_at
from omlab_volume.testing import example_big_volumes, odd_big_volumes

SPACING = 0.003
CARD = {"channels": 1, "bits": 16, "bright": True, "spacing": [[0.0015, 0.0045]] * 3}


def brain(seed=0, shape=(120, 110, 100)):
    """Bright threads on a noisy ground, 16 bits."""
    rng = np.random.default_rng(seed)
    array = rng.normal(400, 40, shape)
    for at in rng.integers(0, shape[0], (60, 2)):
        array[at[0], at[1] % shape[1], :] += 4000
    return array.clip(0).astype(np.uint16)


def volume(array, spacing=SPACING):
    return BigVolume(voxels=Held(array[None]), affine=np.diag([spacing, spacing, spacing, 1.0]))


def doubts(array, expected=CARD, **more):
    return " ".join(check(volume(array, **more), expected)["doubts"])


@dataclass
class Counted:
    """A stack of slices that are read whole, or a chunked file, whose voxels are counted."""

    array: np.ndarray
    chunks: tuple[int, int, int]
    read_voxels: list = field(default_factory=list)

    @property
    def shape(self):
        return self.array.shape

    @property
    def dtype(self):
        return self.array.dtype

    def read(self, region):
        part = self.array[(slice(None), *region)]
        self.read_voxels.append(part.size)
        return part


@pytest.mark.parametrize("seed", range(3))
def test_good_ones_are_left_alone(seed):
    found = check(volume(brain(seed)), CARD)
    assert found["doubts"] == []
    assert found["skewness"] > 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda array: (array >> 5).astype(np.uint8), "8 bits"),
        (lambda array: np.minimum(array.astype(int) * 200, 65535).astype(np.uint16), "overexposed"),
        (lambda array: 5000 - np.minimum(array, 5000), "inverted"),
        (lambda array: np.zeros_like(array), "shows nothing in the 8 places"),
        (lambda array: np.repeat(array[:, :, ::2], 2, axis=2), "repeated"),
        (lambda array: array * (np.arange(array.shape[2]) % 9 > 0).astype(np.uint16), "between others show nothing"),
        (lambda array: np.where(array > 4000, np.nan, array.astype(np.float32)), "not finite"),
    ],
)
def test_planted_failures_are_told(change, sentence):
    assert sentence in doubts(change(brain()))


def test_what_is_not_finite_does_not_hide_the_rest():
    array = brain().astype(np.float32)
    array[::7, ::7, ::7] = np.nan
    said = doubts(array)
    assert "not finite" in said
    assert "shows nothing" not in said


def test_sizes_and_channels_are_told():
    assert "voxel size is unusual: 0.02 mm" in doubts(brain(), spacing=0.02)
    two = BigVolume(voxels=Held(np.stack([brain()] * 2)), affine=volume(brain()).affine)
    assert "has 2 channels" in " ".join(check(two, CARD)["doubts"])


@pytest.mark.parametrize("chunks", [(300, 310, 1), (64, 64, 64), (64, 64, 1)])
def test_a_part_is_read(chunks):
    array = np.broadcast_to(brain(0, (300, 310, 1)), (300, 310, 4000))[None]
    counted = Counted(array, chunks)
    big = replace(volume(brain()), voxels=counted)
    blocks = looked_at(big)
    assert len(blocks) == 27
    assert sum(counted.read_voxels) < 0.01 * array.size


def test_every_example_can_be_looked_at():
    for one in [*example_big_volumes(), *odd_big_volumes().values()]:
        assert isinstance(check(one, CARD)["doubts"], list)
