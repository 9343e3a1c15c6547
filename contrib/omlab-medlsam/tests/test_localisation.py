"""Localising: parts, anchors, and that a query that is a support scan is found where it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from omlab.errors import InputError
from omlab_medlsam.landmarks import extreme_points, part_bounds, part_count
from omlab_medlsam.localisation import anchor_of, describe, localise, random_centres
from omlab_medlsam.matching import best_match, central_cubes, in_unit_length
from omlab_medlsam.model import TINY
from omlab_medlsam.network import Features, untrained

RNG = np.random.default_rng(0)
IMAGE = RNG.uniform(0.1, 1, size=(30, 34, 32)).astype(np.float32)
LABELS = np.zeros(IMAGE.shape, np.uint8)
LABELS[8:20, 10:22, 12:20] = 1


def test_a_scan_finds_its_own_structures() -> None:
    """Where the anchor is a point of the support itself, positions lead there, and features of the place agree."""
    network = untrained(TINY)
    (structure,) = describe(network, [IMAGE], [LABELS], names={1: "box"}, slice_interval=0)
    points = extreme_points(LABELS == 1)
    for n in (0, 5):
        anchor = anchor_of(network, IMAGE, centres=points[n : n + 1])
        found = localise(network, IMAGE, anchor, structure)
        assert found.coarse[n].tolist() == points[n].tolist()
        assert found.steps is not None
        assert np.abs(found.steps[n]).max() <= 1  # a cube of even side has its middle between voxels
        assert found.likeness is not None
        assert 0.6 < found.likeness[n] <= 1


def test_the_best_place_is_that_of_the_cube() -> None:
    generator = torch.Generator().manual_seed(0)
    sizes = (8, 16, 32)
    features = Features(*(torch.randn(1, 12, n, n, n, generator=generator) for n in sizes))
    cubes = tuple(cube[0] for cube in central_cubes(features))
    lengths = [torch.linalg.vector_norm(level, dim=1) for level in in_unit_length(features)]
    assert all(torch.allclose(length, torch.ones_like(length)) for length in lengths)
    match = best_match(features, cubes, supports=1)
    assert set(match.voxel.tolist()) <= {15, 16}
    assert match.margin >= 0


def test_centres_are_about_the_middle_and_not_empty() -> None:
    image = np.where(np.arange(60)[:, None, None] < 28, 0, np.ones((60, 50, 40), np.float32))
    centres = random_centres(image, seed=3)
    assert len(centres) == 10
    assert (image[tuple(centres.T)] > 0).all()
    assert (np.abs(centres - [30, 25, 20]) <= 10).all()
    np.testing.assert_array_equal(centres, random_centres(image, seed=3))
    assert not np.array_equal(centres, random_centres(image, seed=4))
    with pytest.raises(InputError, match="middle of the volume is empty"):
        random_centres(0 * image, seed=0)


def test_parts_follow_the_shortest_support() -> None:
    assert part_count([40, 13], slice_interval=2) == 6
    assert part_count([40, 5], slice_interval=2) == 2
    assert part_count([40, 2], slice_interval=2) == 0
    assert part_count([40, 40], slice_interval=0) == 0


def test_an_empty_part_is_as_wide_as_the_one_before() -> None:
    mask = np.zeros((12, 9, 9), bool)
    mask[0, 2:4, 3:5] = mask[11, 6, 7] = True
    first, second, third = part_bounds(mask, parts=3)
    assert first == ((0, 2, 3), (3, 3, 4))
    assert second == ((3, 2, 3), (6, 3, 4))
    assert third == ((6, 6, 7), (11, 6, 7))
